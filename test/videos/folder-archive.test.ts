import { existsSync } from 'node:fs'
import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { FolderArchive } from '../../services/videos/folder-archive.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { archiveContract, chunksOf } from './video-archive-contract.ts'

test('an archive in a folder', (t) => {
  archiveContract(t, async (t) => new FolderArchive(join(t.testdir(), 'videos')))
  t.end()
})

test('a file that a dead process left unfinished is removed, and no other', async (t) => {
  const folder = join(t.testdir(), 'videos')
  const archive = new FolderArchive(folder)
  const name = createArchiveName('mp4')
  await archive.store(name, chunksOf(Buffer.from('whole'), 2), { contentType: 'video/mp4', signal: new AbortController().signal })
  await writeFile(join(folder, 'unfinished', `${createArchiveName('mp4')}.1`), 'half')
  t.equal(await archive.removeUnfinished(Date.now() + 60_000), 1)
  t.strictSame(await readdir(join(folder, 'unfinished')), [])
  t.ok(existsSync(join(folder, name)))
})

test('only the user of the service can read the files', async (t) => {
  const folder = join(t.testdir(), 'videos')
  const archive = new FolderArchive(folder)
  const name = createArchiveName('mp4')
  await archive.store(name, chunksOf(Buffer.from('whole'), 2), { contentType: 'video/mp4', signal: new AbortController().signal })
  t.equal((await stat(join(folder, name))).mode & 0o777, 0o600)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
})
