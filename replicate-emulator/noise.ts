import { createCipheriv, createHash } from 'node:crypto'

const blockBytes = 16
const chunkBytes = 256 * 1024
const zeros = Buffer.alloc(chunkBytes + blockBytes)

/**
 * The bytes of an endless, repeatable noise: each position has a value of its own, so that misplaced bytes are noticed.
 * @param end not included
 */
export function * noise (seed: string, start: number, end: number): Generator<Buffer> {
  const key = createHash('sha256').update(seed).digest().subarray(0, blockBytes)
  // The key stream of a cipher in counter mode can be read from any block on.
  const counter = Buffer.alloc(blockBytes)
  counter.writeBigUInt64BE(BigInt(Math.floor(start / blockBytes)), 8)
  const cipher = createCipheriv('aes-128-ctr', key, counter)
  cipher.update(zeros.subarray(0, start % blockBytes))
  for (let at = start; at < end; at += chunkBytes) yield cipher.update(zeros.subarray(0, Math.min(chunkBytes, end - at)))
}
