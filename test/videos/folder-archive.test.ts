import { execFile } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'tap'
import { until } from '../../harness/until.ts'
import { FolderArchive } from '../../services/videos/folder-archive.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { ArchiveUnavailableError } from '../../services/videos/video-archive.ts'
import { archiveContract, bytesOf, chunksOf } from './video-archive-contract.ts'

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

/** The limit for files that this process writes, which stands for a disk that is full. */
async function limitFileSize (bytes: number | 'unlimited'): Promise<void> {
  // Otherwise the signal that comes with the error would end the process.
  process.on('SIGXFSZ', () => {})
  await promisify(execFile)('prlimit', [`--fsize=${bytes}:`, '--pid', String(process.pid)])
}

const { signal } = new AbortController()
const contentType = 'video/mp4'

test('a full disk refuses a video, leaves nothing of it, and recovers', async (t) => {
  const folder = join(t.testdir(), 'videos')
  const archive = new FolderArchive(folder)
  const name = createArchiveName('mp4')
  t.teardown(() => limitFileSize('unlimited'))
  await limitFileSize(50_000)
  await t.rejects(archive.store(name, chunksOf(Buffer.alloc(100_000), 10_000), { contentType, signal }), { name: 'ArchiveUnavailableError', cause: { code: 'EFBIG' } })
  t.strictSame(await readdir(join(folder, 'unfinished')), [])
  t.equal(await archive.find(name), undefined)
  await limitFileSize('unlimited')
  t.equal(await archive.store(name, chunksOf(Buffer.alloc(100_000), 10_000), { contentType, signal }), 100_000)
})

test('a folder that is not there does not look like an archive without videos', async (t) => {
  const root = t.testdir()
  const folder = join(root, 'videos')
  const archive = new FolderArchive(folder)
  const name = createArchiveName('mp4')
  await archive.store(name, chunksOf(Buffer.from('whole'), 2), { contentType, signal })
  await archive.writeOwner('a store')
  for (const replace of [async () => {}, () => mkdir(folder)]) {
    await rename(folder, join(root, 'elsewhere'))
    await replace()
    await t.rejects(archive.find(name), ArchiveUnavailableError)
    await t.rejects(archive.read(name), ArchiveUnavailableError)
    await t.rejects(archive.remove(name), ArchiveUnavailableError)
    await t.rejects(archive.store(name, chunksOf(Buffer.from('whole'), 2), { contentType, signal }), ArchiveUnavailableError)
    await t.rejects(archive.list().next(), ArchiveUnavailableError)
    await t.rejects(archive.removeUnfinished(Date.now()), ArchiveUnavailableError)
    await t.rejects(archive.readOwner(), ArchiveUnavailableError)
    await t.rejects(archive.assertUsable(), { name: 'StartError', message: /cannot be written/ })
    await rm(folder, { recursive: true, force: true })
    await rename(join(root, 'elsewhere'), folder)
    t.equal((await bytesOf(archive.read(name)))?.toString(), 'whole')
    t.equal(await archive.readOwner(), 'a store')
    await archive.assertUsable()
    t.strictSame(await readdir(join(folder, 'unfinished')), [])
  }
})

test('a folder that cannot be written to is read, and refused at the start', async (t) => {
  const folder = join(t.testdir(), 'videos')
  const archive = new FolderArchive(folder)
  const name = createArchiveName('mp4')
  await archive.store(name, chunksOf(Buffer.from('whole'), 2), { contentType, signal })
  await chmod(join(folder, name), 0o644)
  await chmod(folder, 0o555)
  await chmod(join(folder, 'unfinished'), 0o555)
  const isRoot = process.geteuid?.() === 0
  // Permissions do not hold back root.
  if (isRoot) process.seteuid?.(65534)
  try {
    await t.rejects(archive.assertUsable(), { name: 'StartError', message: /cannot be written/, cause: { code: 'EACCES' } })
    await t.rejects(archive.store(name, chunksOf(Buffer.from('other'), 2), { contentType, signal }), { name: 'ArchiveUnavailableError', cause: { code: 'EACCES' } })
    await t.rejects(archive.remove(name), { name: 'ArchiveUnavailableError', cause: { code: 'EACCES' } })
    t.equal((await bytesOf(archive.read(name)))?.toString(), 'whole')
  } finally {
    if (isRoot) process.seteuid?.(0)
    await chmod(folder, 0o755)
    await chmod(join(folder, 'unfinished'), 0o755)
  }
  await archive.assertUsable()
  await archive.remove(name)
})

test('a list of ten thousand videos opens one file at a time, and readers that leave close theirs', async (t) => {
  const folder = join(t.testdir(), 'videos')
  const archive = new FolderArchive(folder)
  for (let file = 0; file < 10_000; file++) writeFileSync(join(folder, createArchiveName('mp4')), '')
  const openFiles = () => readdirSync('/proc/self/fd').length
  const before = openFiles()
  let listed = 0
  for await (const { bytes } of archive.list()) {
    listed++
    if (bytes !== 0 || openFiles() > before + 2) t.fail(`${openFiles() - before} more files are open`)
  }
  t.equal(listed, 10_000)
  const videos = archive.list()
  t.match(await videos.next(), { done: false })
  await videos.return(undefined)
  const name = createArchiveName('mp4')
  await archive.store(name, chunksOf(Buffer.alloc(1_000_000), 1_000_000), { contentType, signal })
  const readers = await Promise.all(Array.from({ length: 50 }, () => archive.read(name)))
  for (const reader of readers) reader?.destroy()
  await until(() => openFiles() <= before, 'the files to be closed')
})
