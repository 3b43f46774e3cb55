import { randomFillSync } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'

const idBytes = 16
const pool = new Uint8Array(256 * idBytes)
let used = pool.length

/**
 * A UUIDv7: unique across instances, and sorted by time in a log.
 * Random bytes are fetched for many ids at once; one call to the system for each id would cost twenty times as much.
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
