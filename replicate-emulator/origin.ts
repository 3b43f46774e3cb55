import type { FastifyRequest } from 'fastify'

/** The address by which the client reached the emulator: every address in an answer begins with it. */
export function requestOrigin ({ protocol, host }: FastifyRequest): string {
  return `${protocol}://${host}`
}
