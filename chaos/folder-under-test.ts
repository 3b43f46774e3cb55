import { randomUUID } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createArchiveName, ownerFile } from '../services/videos/archive-name.ts'
import type { ArchiveUnderTest } from './archive-under-test.ts'

/** The folder of the videos. Its faults are those of the processes that write to it: a full disk and kills. */
export class FolderUnderTest implements ArchiveUnderTest {
  readonly env
  readonly counts = new Map<string, number>()
  readonly #folder: string

  /** @param dataDir the data of the service, for all of its instances */
  constructor (dataDir: string) {
    this.env = { DATA_DIR: dataDir }
    this.#folder = join(dataDir, 'videos')
  }

  async injectFaults (): Promise<void> {}

  async plantOrphan (): Promise<void> {
    await writeFile(join(this.#folder, createArchiveName('mp4')), 'an orphan')
    await writeFile(join(this.#folder, 'unfinished', `${createArchiveName('mp4')}.${randomUUID()}`), 'half of')
  }

  async listFiles (): Promise<string[]> {
    return (await filesIn(this.#folder)).filter((name) => name !== ownerFile)
  }

  async listUnfinished (): Promise<string[]> {
    return await filesIn(join(this.#folder, 'unfinished'))
  }

  async close (): Promise<void> {}
}

async function filesIn (folder: string): Promise<string[]> {
  return (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isFile()).map(({ name }) => name)
}
