import { randomFillSync } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { ReceivedRequest, TrustedProxies } from './trusted-proxies.ts'

/** What an id may look like that a proxy has given to a request. */
const foreignId = /^[\w.:=+@/-]{1,128}$/

const idBytes = 16
const pool = new Uint8Array(256 * idBytes)
let used = pool.length

/**
 * Makes a UUIDv7, which is unique across instances and sorts by time. Random bytes are fetched for 256 ids at a time: a system call for
 * each id would take twenty times as long.
 */
export function newRequestId (): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const random = pool.subarray(used, used + idBytes)
  used += idBytes
  return uuidv7({ random })
}

/** @returns the id that a trusted proxy has given to the request, or a new one */
export function requestIdOf (request: ReceivedRequest, proxies: TrustedProxies): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && foreignId.test(given) && proxies.isFromProxy(request) ? given : newRequestId()
}
