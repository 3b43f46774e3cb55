import { addAbortSignal, type Readable } from 'node:stream'
import { Worker } from 'node:worker_threads'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import { Semaphore } from '../runtime/semaphore.ts'
import type { InspectionReply, InspectionRequest } from './inspection-worker.ts'
import type { ByteSpan } from './video-archive.ts'
import type { VideoFormat } from './video-format.ts'

/** A file to be inspected. */
export interface InspectedFile {
  bytes: number
  /** gives the bytes of a span */
  read: (span: ByteSpan) => Promise<Readable>
}

/** The file could not be inspected now, which says nothing about the file. */
export class InspectionFailedError extends Error {
  override name = 'InspectionFailedError'
}

/** The index of a video of an hour has about 4 MB. */
const maxReadBytes = 32 * 1024 * 1024
const timeLimitMs = 30_000
/** A few bytes can claim a thousand million frames, and the library makes a list of the frames. */
const resourceLimits = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 }
/** The thread takes about 20 MB, which are given back when no file was inspected for this time. */
const idleMs = 30_000
/** A new thread takes over after this many files, so that nothing that the library keeps of them adds up. */
const maxFiles = 100

/**
 * Opens files as videos, one after another, in a thread of its own: a file that was made to stop the process stops only that thread.
 * Its time and memory, and the bytes that it reads of a file, are limited.
 */
export class VideoInspector {
  #turn = new Semaphore(1)
  #thread: InspectionThread | undefined
  #idle: NodeJS.Timeout | undefined

  /**
   * @returns undefined where the file is no video, or one without a picture or a length, or cannot be opened within the limits
   * @throws InspectionFailedError, the signal's reason, or what `read` throws
   */
  async inspect (file: InspectedFile, signal: AbortSignal): Promise<VideoFormat | undefined> {
    return await this.#turn.run(signal, async () => {
      clearTimeout(this.#idle)
      const inTime = createDeadlineSignal(signal, timeLimitMs)
      const thread = this.#thread ??= new InspectionThread()
      try {
        return await thread.inspect(file, inTime.signal)
      } catch (error) {
        // It may still be busy with this file.
        thread.stop()
        signal.throwIfAborted()
        throw inTime.signal.aborted ? new InspectionFailedError(`The file could not be inspected within ${timeLimitMs} ms`) : error
      } finally {
        inTime.dispose()
        if (thread.hasEnded || thread.files >= maxFiles) this.close()
        this.#idle = setTimeout(() => this.close(), idleMs).unref()
      }
    })
  }

  /** Ends the thread. The next inspection starts another one. */
  close (): void {
    clearTimeout(this.#idle)
    this.#thread?.stop()
    this.#thread = undefined
  }
}

class InspectionThread {
  /** how many it was given */
  files = 0
  hasEnded = false
  #worker

  constructor () {
    // Without the loaders of this process, and without its environment, which contains secrets.
    this.#worker = new Worker(new URL('inspection-worker.ts', import.meta.url), { execArgv: [], env: {}, resourceLimits })
    this.#worker.on('error', () => {}).on('exit', () => { this.hasEnded = true })
  }

  /** @throws the signal's reason, InspectionFailedError, or what `read` throws; the caller stops the thread then */
  async inspect ({ bytes, read }: InspectedFile, signal: AbortSignal): Promise<VideoFormat | undefined> {
    signal.throwIfAborted()
    this.files++
    const found = Promise.withResolvers<VideoFormat | undefined>()
    let bytesLeft = maxReadBytes
    const take = async ({ start, end }: ByteSpan): Promise<Uint8Array | undefined> => {
      bytesLeft -= end - start + 1
      return bytesLeft < 0 ? undefined : collect(await read({ start, end }), signal)
    }
    const onMessage = (reply: InspectionReply): void => {
      if (reply.kind === 'found') found.resolve(reply.format)
      else take(reply).then((content) => this.#send({ kind: 'content', id: reply.id, content }), found.reject)
    }
    const onError = (error: unknown): void => {
      this.stop()
      if (isOutOfMemory(error)) found.resolve(undefined)
      else found.reject(new InspectionFailedError('The thread of the inspection has failed', { cause: error }))
    }
    const onExit = (): void => found.reject(new InspectionFailedError('The thread of the inspection has ended'))
    const onAbort = (): void => found.reject(signal.reason)
    this.#worker.on('message', onMessage).on('error', onError).on('exit', onExit)
    signal.addEventListener('abort', onAbort)
    this.#worker.ref()
    try {
      this.#send({ kind: 'inspect', bytes })
      return await found.promise
    } finally {
      this.#worker.unref()
      this.#worker.off('message', onMessage).off('error', onError).off('exit', onExit)
      signal.removeEventListener('abort', onAbort)
    }
  }

  stop (): void {
    this.hasEnded = true
    this.#worker.terminate().catch(() => {})
  }

  #send (request: InspectionRequest): void {
    this.#worker.postMessage(request)
  }
}

async function collect (content: Readable, signal: AbortSignal): Promise<Buffer> {
  try {
    return Buffer.concat(await addAbortSignal(signal, content).toArray())
  } catch (error) {
    throw new InspectionFailedError('The file could not be read', { cause: error })
  }
}

function isOutOfMemory (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
}
