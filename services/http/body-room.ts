import { finished, type Readable } from 'node:stream'

/** What a piece takes besides its bytes: one that sends single bytes in chunks would otherwise take 200 times as much. */
const costOfPiece = 256

/**
 * Memory for bodies of which it is not known yet whether they are worth anything: so much for all that are under way
 * together. Only what has arrived counts, so that a connection that announces much and sends nothing takes no room.
 */
export class BodyRoom {
  readonly #most: number
  #taken = 0

  /** @param most bytes */
  constructor (most: number) {
    this.#most = most
  }

  /**
   * Reads a body, lets `look` see it and forgets it.
   * @param limit bytes of this body
   * @returns what `look` gives, or why the body was not kept
   * @throws where the stream ends too early
   */
  async read<T> (stream: Readable, limit: number, look: (body: Buffer) => T): Promise<T | 'too_large' | 'no_room'> {
    const pieces: Buffer[] = []
    let bytes = 0
    let taken = 0
    const refusalOf = (cost: number) => {
      if (bytes > limit) return 'too_large'
      return this.#taken + cost > this.#most ? 'no_room' : undefined
    }
    try {
      const refusal = await new Promise<'too_large' | 'no_room' | undefined>((resolve, reject) => {
        const keep = (piece: Buffer) => {
          bytes += piece.length
          const cost = piece.length + costOfPiece
          const refusal = refusalOf(cost)
          if (refusal === undefined) {
            pieces.push(piece)
            taken += cost
            this.#taken += cost
          } else {
            // Whatever else comes is thrown away, until the connection is cut.
            stream.off('data', keep).resume()
            resolve(refusal)
          }
        }
        stream.on('data', keep)
        finished(stream, { writable: false }, (error) => error ? reject(error) : resolve(undefined))
      })
      return refusal ?? look(Buffer.concat(pieces))
    } finally {
      this.#taken -= taken
    }
  }
}
