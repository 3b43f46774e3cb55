import type { FileHandle } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { ArchiveUnavailableError, type ByteSpan } from './video-archive.ts'

/** Few system calls for a whole video, and little memory for a slow reader. */
const chunkBytes = 128 * 1024

/**
 * The bytes of a span of a file. Unlike the stream of `node:fs` it fails if the file has fewer bytes, and with `pipe` one buffer serves
 * the whole span: allocating a new one for each chunk takes more time than reading and sending it.
 */
export class FileStream extends Readable {
  #file
  #position
  /** the position after the last byte */
  #end
  #reading: Promise<unknown> = Promise.resolve()

  /** @param file is closed by the stream */
  constructor (file: FileHandle, { start, end }: ByteSpan) {
    super({ highWaterMark: chunkBytes })
    this.#file = file
    this.#position = start
    this.#end = end + 1
  }

  override _read (): void {
    const bytes = this.#nextBytes()
    if (bytes === 0) this.push(null)
    else this.#fill(Buffer.allocUnsafeSlow(bytes)).then((chunk) => this.push(chunk), (error: Error) => this.destroy(error))
  }

  /** Writes into the destination, each chunk after the one before has left the process. */
  override pipe<T extends NodeJS.WritableStream>(destination: T, { end = true }: { end?: boolean } = {}): T {
    this.#writeTo(destination, end).catch((error: Error) => this.destroy(error))
    return destination
  }

  override _destroy (error: Error | null, callback: (error: Error | null) => void): void {
    // The number of a file that is closed during a read can become that of another file.
    this.#reading.catch(() => {}).then(() => this.#file.close()).then(() => callback(error), callback)
  }

  async #writeTo (destination: NodeJS.WritableStream, endsIt: boolean): Promise<void> {
    const memory = Buffer.allocUnsafeSlow(this.#nextBytes())
    for (let bytes = memory.length; bytes > 0 && !this.destroyed; bytes = this.#nextBytes()) {
      const chunk = await this.#fill(memory.subarray(0, bytes))
      // The owner of the destination knows how it failed, and an answer that its client does not want is no fault of the file.
      if (!this.destroyed && !await write(destination, chunk)) this.destroy()
    }
    if (this.destroyed) return
    if (endsIt) destination.end()
    this.push(null)
    this.resume()
  }

  #nextBytes (): number {
    return Math.min(chunkBytes, this.#end - this.#position)
  }

  /** @returns the part of the memory that was filled */
  async #fill (memory: Buffer): Promise<Buffer> {
    const reading = this.#file.read(memory, 0, memory.length, this.#position)
    this.#reading = reading
    try {
      const { bytesRead } = await reading
      if (bytesRead === 0) throw new Error(`A stored file ends at byte ${this.#position} instead of ${this.#end}`)
      this.#position += bytesRead
      return memory.subarray(0, bytesRead)
    } catch (error) {
      throw new ArchiveUnavailableError(error)
    }
  }
}

/** Resolves when the operating system has the chunk, so that its memory can be used again. @returns false if the destination has failed */
function write (destination: NodeJS.WritableStream, chunk: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    destination.write(chunk, (error) => resolve(!error))
  })
}
