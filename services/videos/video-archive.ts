import type { Readable } from 'node:stream'

/** First and last byte, both included. */
export interface ByteSpan { start: number, end: number }

export interface ArchiveEntry {
  name: string
  bytes: number
  /** when it was written, ms since the epoch by the archive's clock */
  modifiedAt: number
}

export interface StoreOptions {
  /** such as `video/mp4` */
  contentType: string
  signal: AbortSignal
}

export interface SignOptions {
  method: 'GET' | 'HEAD'
  expiresInSeconds: number
  download?: string | undefined
}

/**
 * Where finished videos are kept. Every backend gives these guarantees, and one suite of tests checks them:
 *
 * - Whole or not at all: nothing can be read under a name before all of its bytes are stored. A write that fails, is aborted or
 *   dies with its process leaves nothing that can be read.
 * - Durable: when `store` resolves, the video survives a crash of the process and of the machine.
 * - Failing loudly: where the archive cannot do its work now (disk full, server unavailable) it rejects with
 *   `ArchiveUnavailableError`, and the same call may succeed later.
 *
 * All names are of the form that `isArchiveName` describes; another name is an error of the caller.
 */
export interface VideoArchive {
  /**
   * Checks at the start whether videos can be written.
   * @throws StartError where an operator has to change something; an archive that is unavailable now may come back, and is no error
   */
  assertUsable (): Promise<void>
  /**
   * Stores what `content` yields, and replaces what was stored under the name before.
   * @returns the number of bytes
   * @throws ArchiveUnavailableError, the signal's reason, or whatever `content` throws
   */
  store (name: string, content: AsyncIterable<Uint8Array>, options: StoreOptions): Promise<number>
  /** @returns undefined where there is no such video @throws ArchiveUnavailableError */
  find (name: string): Promise<ArchiveEntry | undefined>
  /**
   * @returns exactly the bytes of the span, or all of them; undefined where there is no such video. The caller reads the stream or
   * destroys it, and learns from the stream itself where it fails later, also if the file is shorter than it was.
   * @throws ArchiveUnavailableError
   */
  read (name: string, span?: ByteSpan): Promise<Readable | undefined>
  /**
   * An address that anybody can read the video from until it expires.
   * @param options.method of the request that the address is for
   * @param options.download a file name that the browser is asked to save it under
   * @returns undefined where the archive has no addresses of its own
   */
  signUrl (name: string, options: SignOptions): Promise<string | undefined>
  /** Removes a video; one that is not there is no error. @throws ArchiveUnavailableError */
  remove (name: string): Promise<void>
  /** Every video, in no order. @throws ArchiveUnavailableError */
  list (): AsyncGenerator<ArchiveEntry>
  /**
   * Removes what interrupted writes have left. The writes that this object has under way are left alone.
   * @param before ms since the epoch: writes that began later are left alone, because another process may have them under way
   * @returns how many were removed
   * @throws ArchiveUnavailableError
   */
  removeUnfinished (before: number): Promise<number>
  /**
   * The id of the store whose tasks the videos belong to, as it was last written.
   * @returns undefined if the archive has no such mark
   * @throws ArchiveUnavailableError
   */
  readOwner (): Promise<string | undefined>
  /** Marks the archive as that of a store, and replaces another mark. It is not compared: read it again later. @throws ArchiveUnavailableError */
  writeOwner (storeId: string): Promise<void>
  close (): void
}

/** The archive cannot do its work at the moment. `cause` holds the backend's own error. */
export class ArchiveUnavailableError extends Error {
  override name = 'ArchiveUnavailableError'

  constructor (cause: unknown) {
    super('The video archive is not available', { cause })
  }
}
