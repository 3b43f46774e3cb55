import { finished, type Readable } from 'node:stream'

/** What a chunk takes besides its bytes: one that sends single bytes in chunks would otherwise take 200 times as much. */
const chunkOverheadBytes = 256

/**
 * Memory for bodies of which it is not known yet whether they are worth anything: so much for all that are under way
 * together. Only what has arrived counts, so that a connection that announces much and sends nothing takes no room.
 */
export class BodyBudget {
  readonly #maxBytes: number
  #usedBytes = 0

  /** @param maxBytes bytes */
  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * Reads a body, lets `look` see it and forgets it.
   * @param limit bytes of this body
   * @returns what `look` gives, or why the body was not kept
   * @throws where the stream ends too early
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
            // Whatever else comes is thrown away, until the connection is cut.
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
