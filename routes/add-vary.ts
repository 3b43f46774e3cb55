import type { FastifyReply } from 'fastify'

/** Adds the name of a request header to `Vary`. A plugin may have added others: that for pages of other origins adds `Origin`. */
export function addVary (reply: FastifyReply, name: string): void {
  reply.header('vary', [reply.getHeader('vary'), name].filter(Boolean).join(', '))
}
