import { finished, type Readable } from 'node:stream'

/** The memory that a chunk takes besides its bytes. A body sent in chunks of one byte would otherwise take 200 times what is counted. */
const chunkOverheadBytes = 256

/**
 * Limits the memory that request bodies take together before it is known whether they are authentic. Only received bytes count, so a
 * connection that announces a large body and sends nothing takes no memory from others.
 */
export class BodyBudget {
  readonly #maxBytes: number
  #usedBytes = 0

  /** @param maxBytes for all bodies together */
  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * Reads a body, passes it to `consume` and frees its memory.
   * @param limit for this body, in bytes
   * @returns what `consume` returns, or why the body was refused
   * @throws if the stream ends early
   */
  async read<T> (stream: Readable, limit: number, consume: (body: Buffer) => T): Promise<T | 'too_large' | 'budget_exhausted'> {
    const chunks: Buffer[] = []
    let bytes = 0
    let heldBytes = 0
    const refuse = (cost: number) => {
      if (bytes > limit) return 'too_large'
      return this.#usedBytes + cost > this.#maxBytes ? 'budget_exhausted' : undefined
    }
    try {
      const refusal = await new Promise<'too_large' | 'budget_exhausted' | undefined>((resolve, reject) => {
        const keep = (chunk: Buffer) => {
          bytes += chunk.length
          const cost = chunk.length + chunkOverheadBytes
          const refusal = refuse(cost)
          if (refusal === undefined) {
            chunks.push(chunk)
            heldBytes += cost
            this.#usedBytes += cost
          } else {
            // The rest of the body is read and thrown away until the connection is closed.
            stream.off('data', keep).resume()
            resolve(refusal)
          }
        }
        stream.on('data', keep)
        finished(stream, { writable: false }, (error) => error ? reject(error) : resolve(undefined))
      })
      return refusal ?? consume(Buffer.concat(chunks))
    } finally {
      this.#usedBytes -= heldBytes
    }
  }
}
