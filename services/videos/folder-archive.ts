import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { open, opendir, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Readable } from 'node:stream'
import { StartError } from '../runtime/start-error.ts'
import { ArchiveUnavailableError, type ArchiveEntry, type ByteSpan, type StoreOptions, type VideoArchive } from './video-archive.ts'
import { isArchiveName, ownerFile } from './archive-name.ts'
import { FileStream } from './file-stream.ts'

/** Writes that are under way, each in a file that no reader looks for. On the same file system, so that `rename` is atomic. */
const unfinishedFolder = 'unfinished'

/** An operator has to change something, while a disk that is full or slow may recover. */
const permanentFaults = ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR']

/** An archive in a folder of this machine, for instances that share the folder. */
export class FolderArchive implements VideoArchive {
  #folder
  #unfinished
  /** The file names of the writes that are under way. */
  #writes = new Set<string>()

  /** @throws StartError where the folder cannot be made */
  constructor (folder: string) {
    this.#folder = folder
    this.#unfinished = join(folder, unfinishedFolder)
    try {
      mkdirSync(this.#unfinished, { recursive: true, mode: 0o700 })
    } catch (error) {
      throw new StartError(`The folder of the videos, ${folder}, cannot be made`, { cause: error })
    }
  }

  async assertUsable (): Promise<void> {
    const probe = join(this.#unfinished, randomUUID())
    try {
      await (await open(probe, 'wx', 0o600)).close()
      await rm(probe)
    } catch (error) {
      if (!isOneOf(error, permanentFaults)) return
      throw new StartError(`Files cannot be written into the folder of the videos, ${this.#folder}`, { cause: error })
    }
  }

  async store (name: string, content: AsyncIterable<Uint8Array>, { signal }: StoreOptions): Promise<number> {
    return this.#replace(this.#path(name), content, signal)
  }

  async find (name: string): Promise<ArchiveEntry | undefined> {
    const path = this.#path(name)
    const found = await this.#ifPresent(stat(path))
    return found && { name, bytes: found.size, modifiedAt: found.mtimeMs }
  }

  async read (name: string, span?: ByteSpan): Promise<Readable | undefined> {
    const path = this.#path(name)
    const file = await this.#ifPresent(open(path))
    if (file === undefined) return undefined
    const content = new FileStream(file, span ?? await spanOfAll(file))
    // Without the listener an error before the caller listens would end the process.
    return content.on('error', () => {})
  }

  async signUrl (): Promise<undefined> {}

  async remove (name: string): Promise<void> {
    const path = this.#path(name)
    await this.#ifPresent(rm(path))
  }

  async * list (): AsyncGenerator<ArchiveEntry> {
    await this.#assertPresent()
    for await (const { name } of filesIn(this.#folder)) {
      const found = isArchiveName(name) ? await this.find(name) : undefined
      if (found !== undefined) yield found
    }
  }

  async removeUnfinished (before: number): Promise<number> {
    let removed = 0
    for await (const { name, path } of filesIn(this.#unfinished)) {
      const found = await this.#ifPresent(stat(path))
      // By the last write: not every file system knows when a file was created.
      if (found === undefined || found.mtimeMs >= before || this.#writes.has(name)) continue
      await this.#ifPresent(rm(path))
      removed++
    }
    return removed
  }

  async readOwner (): Promise<string | undefined> {
    const found = await this.#ifPresent(readFile(join(this.#folder, ownerFile), 'utf8'))
    return found?.trim()
  }

  async writeOwner (storeId: string): Promise<void> {
    await this.#replace(join(this.#folder, ownerFile), [Buffer.from(`${storeId}\n`)], new AbortController().signal)
  }

  close (): void {}

  async #replace (path: string, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, signal: AbortSignal): Promise<number> {
    const unfinished = `${basename(path)}.${randomUUID()}`
    const unfinishedPath = join(this.#unfinished, unfinished)
    this.#writes.add(unfinished)
    try {
      const bytes = await writeFile(unfinishedPath, content, signal)
      await unavailableUnless(async () => {
        await rename(unfinishedPath, path)
        await syncFolder(this.#folder)
      })
      return bytes
    } catch (error) {
      await rm(unfinishedPath, { force: true }).catch(() => undefined)
      throw error
    } finally {
      this.#writes.delete(unfinished)
    }
  }

  /** A file is missing only while the archive itself is there. A disk that is not mounted takes all files with it. */
  async #ifPresent<T> (work: Promise<T>): Promise<T | undefined> {
    try {
      return await work
    } catch (error) {
      if (!isOneOf(error, ['ENOENT'])) throw new ArchiveUnavailableError(error)
      await this.#assertPresent()
      return undefined
    }
  }

  async #assertPresent (): Promise<void> {
    await unavailableUnless(() => stat(this.#unfinished))
  }

  #path (name: string): string {
    if (!isArchiveName(name)) throw new Error(`${JSON.stringify(name)} is not the name of a video`)
    return join(this.#folder, name)
  }
}

async function spanOfAll (file: FileHandle): Promise<ByteSpan> {
  try {
    return { start: 0, end: (await file.stat()).size - 1 }
  } catch (error) {
    await file.close()
    throw new ArchiveUnavailableError(error)
  }
}

/** @returns the number of bytes, all of which are on the disk */
async function writeFile (path: string, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, signal: AbortSignal): Promise<number> {
  const file = await unavailableUnless(() => open(path, 'wx', 0o600))
  let bytes = 0
  try {
    for await (const chunk of content) {
      signal.throwIfAborted()
      await unavailableUnless(() => writeAll(file, chunk))
      bytes += chunk.length
    }
    signal.throwIfAborted()
    await unavailableUnless(() => file.sync())
    return bytes
  } finally {
    // Some file systems report only now that they could not write.
    await unavailableUnless(() => file.close())
  }
}

async function writeAll (file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let written = 0; written < chunk.length;) written += (await file.write(chunk, written)).bytesWritten
}

/** So that the new name survives a power cut as well as the bytes do. */
async function syncFolder (path: string): Promise<void> {
  const folder = await open(path)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function * filesIn (folder: string): AsyncGenerator<{ name: string, path: string }> {
  try {
    for await (const entry of await opendir(folder)) if (entry.isFile()) yield { name: entry.name, path: join(folder, entry.name) }
  } catch (error) {
    throw new ArchiveUnavailableError(error)
  }
}

function isOneOf (error: unknown, codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.some((code) => code === error.code)
}

async function unavailableUnless<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new ArchiveUnavailableError(error)
  }
}
