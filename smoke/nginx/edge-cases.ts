import { marker } from './load-clients.ts'
import type { Nginx } from './nginx.ts'

const KiB = 1024
const MiB = 1024 * KiB

/** Requests that nginx has to pass on or to refuse itself, each with the expected status and code. */
const edgeCases: Array<{ what: string, path: string, body?: number, status: number, code: string }> = [
  { what: 'an unknown address', path: '/nowhere', status: 404, code: 'not_found' },
  { what: 'the metrics', path: '/metrics', status: 404, code: 'not_found' },
  { what: 'a dream that is too long for the service', path: dream(60 * KiB), status: 422, code: 'validation_failed' },
  { what: 'a dream that is too long for nginx', path: dream(80 * KiB), status: 414, code: 'uri_too_long' },
  { what: 'a body that is too large', path: dream(9), body: MiB + 1, status: 413, code: 'payload_too_large' },
  // The service has no such route without a PUBLIC_URL: its answer shows that nginx passed the request on.
  { what: 'a webhook of 8 MiB', path: '/webhooks/replicate/x', body: 8 * MiB, status: 404, code: 'not_found' },
  { what: 'a webhook that is too large', path: '/webhooks/replicate/x', body: 8 * MiB + 1, status: 413, code: 'payload_too_large' }
]

/** @returns a sentence for each case that was answered differently */
export async function checkEdgeCases (nginx: Nginx): Promise<string[]> {
  const findings = await Promise.all(edgeCases.map(async ({ what, path, body, status, code }) => {
    const response = await fetch(nginx.url + path, { method: 'POST', ...(body && { body: 'x'.repeat(body) }) })
    const problem = await response.json() as { code?: unknown, status?: unknown, request_id?: unknown }
    const type = response.headers.get('content-type')
    const isRight = response.status === status && problem.code === code && problem.status === status &&
      type?.startsWith('application/problem+json') && problem.request_id === response.headers.get('x-request-id')
    return isRight ? [] : [`${what}: ${response.status} ${type} ${JSON.stringify(problem)}`]
  }))
  return findings.flat()
}

function dream (length: number): string {
  return `/generate-video?style=Animated&dream=${marker.padEnd(length, '.')}`
}
