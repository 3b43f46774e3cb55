import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { open, opendir, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { StartError } from '../runtime/start-error.ts'
import { ArchiveUnavailableError, type ArchiveEntry, type ByteSpan, type StoreOptions, type VideoArchive } from './video-archive.ts'
import { isArchiveName } from './archive-name.ts'

/** Writes that are under way, each in a file that no reader looks for. On the same file system, so that `rename` is atomic. */
const unfinishedFolder = 'unfinished'
/** Few system calls for a whole video, and little memory for a slow reader. */
const readBytes = 256 * 1024

/** An archive in a folder of this machine, for instances that share the folder. */
export class FolderArchive implements VideoArchive {
  #folder
  #unfinished

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

  async store (name: string, content: AsyncIterable<Uint8Array>, { signal }: StoreOptions): Promise<number> {
    const path = this.#path(name)
    const unfinished = join(this.#unfinished, `${name}.${randomUUID()}`)
    try {
      const bytes = await writeFile(unfinished, content, signal)
      await unavailableUnless(async () => {
        await rename(unfinished, path)
        await syncFolder(this.#folder)
      })
      return bytes
    } catch (error) {
      await rm(unfinished, { force: true }).catch(() => undefined)
      throw error
    }
  }

  async find (name: string): Promise<ArchiveEntry | undefined> {
    const path = this.#path(name)
    const found = await unavailableUnless(() => ifPresent(stat(path)))
    return found && { name, bytes: found.size, modifiedAt: found.mtimeMs }
  }

  async read (name: string, span?: ByteSpan): Promise<Readable | undefined> {
    const path = this.#path(name)
    const file = await unavailableUnless(() => ifPresent(open(path)))
    return file?.createReadStream({ ...span, highWaterMark: readBytes })
  }

  async signUrl (): Promise<undefined> {}

  async remove (name: string): Promise<void> {
    const path = this.#path(name)
    await unavailableUnless(() => rm(path, { force: true }))
  }

  async * list (): AsyncGenerator<ArchiveEntry> {
    for await (const { name } of filesIn(this.#folder)) {
      const found = isArchiveName(name) ? await this.find(name) : undefined
      if (found !== undefined) yield found
    }
  }

  async removeUnfinished (before: number): Promise<number> {
    let removed = 0
    for await (const { path } of filesIn(this.#unfinished)) {
      const found = await unavailableUnless(() => ifPresent(stat(path)))
      if (found === undefined || found.birthtimeMs >= before) continue
      await unavailableUnless(() => rm(path, { force: true }))
      removed++
    }
    return removed
  }

  close (): void {}

  #path (name: string): string {
    if (!isArchiveName(name)) throw new Error(`${JSON.stringify(name)} is not the name of a video`)
    return join(this.#folder, name)
  }
}

/** @returns the number of bytes, all of which are on the disk */
async function writeFile (path: string, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<number> {
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
    await file.close()
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
  const entries = await unavailableUnless(() => opendir(folder))
  for await (const entry of entries) if (entry.isFile()) yield { name: entry.name, path: join(folder, entry.name) }
}

async function ifPresent<T> (work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

async function unavailableUnless<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new ArchiveUnavailableError(error)
  }
}
