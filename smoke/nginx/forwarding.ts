import { readFile } from 'node:fs/promises'
import type { Instance } from './instance.ts'
import type { Nginx } from './nginx.ts'

/** What a client could send to be taken for another one, or to have its requests logged under an id of its choice. */
const spoofed = { 'x-forwarded-for': '203.0.113.66', 'x-forwarded-host': 'spoofed.invalid', 'x-forwarded-proto': 'ftp', 'x-request-id': 'spoofed' }

/**
 * Checks that nginx replaces the headers that the instances believe.
 * @returns a sentence for each of them that a client can set
 */
export async function checkForwarding (nginx: Nginx, instances: readonly Instance[]): Promise<string[]> {
  // A host name that is not allowed would be refused.
  const response = await fetch(`${nginx.url}/video-status/none`, { headers: spoofed })
  const id = response.headers.get('x-request-id')
  await response.text()
  const logged = (await Promise.all(instances.map(({ logFile }) => readFile(logFile, 'utf8')))).join('\n').split('\n').filter((line) => line.includes(`"${id}"`))
  const accessLines = (await nginx.accessLines()).filter(({ request_id: requestId }) => requestId === id)
  return [
    response.status === 404 ? '' : `nginx forwards X-Forwarded-Host: the answer is ${response.status}`,
    id === spoofed['x-request-id'] ? 'nginx forwards X-Request-Id' : '',
    logged.length === 1 && logged[0]?.includes('"client":"127.0.0.1"') ? '' : `an instance logs another client or id: ${logged.join() || 'nothing'}`,
    accessLines.length === 1 ? '' : 'nginx logs the request under another id'
  ].filter(Boolean)
}
