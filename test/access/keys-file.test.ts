import { mkdir, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { createApiKey, hashApiKey } from '../../services/access/api-key.ts'
import { KeysFile } from '../../services/access/keys-file.ts'

/** Replaces a file at once, as a deployment does. */
async function replace (path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text)
  await rename(`${path}.new`, path)
}

const fileOf = (...names: string[]) => JSON.stringify(names.map((name) => ({ name, sha256: hashApiKey(createApiKey()).toString('hex') })))

/** A file that is looked at every few milliseconds, the names of each version that was applied, and the lines of the log. */
async function watch (t: Test, path: string) {
  const lines: Array<{ level: string, message: string, faults?: string[] }> = []
  const write = (level: string) => (details: object, message: string) => { lines.push({ ...details, level, message }) }
  const log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
  const versions: string[][] = []
  const file = new KeysFile({ path, intervalMs: 5, log, onEntries: (entries) => { versions.push(entries.map(({ name }) => name)) } })
  t.teardown(() => file.stop())
  const first = await file.load()
  file.watch()
  return {
    first: first.map(({ name }) => name),
    versions,
    lines,
    version: (...names: string[]) => until(() => versions.at(-1)?.join() === names.join() || undefined, `the keys ${names.join()}`),
    errors: (count: number) => until(() => lines.filter(({ level }) => level === 'error').length === count || undefined, `${count} errors`)
  }
}

t.test('another version of the file replaces all keys', async (t) => {
  const path = join(t.testdir(), 'keys.json')
  await writeFile(path, fileOf('a', 'b'))
  const { first, version, lines } = await watch(t, path)
  t.same(first, ['a', 'b'])
  await writeFile(path, fileOf('c'))
  await version('c')
  await writeFile(path, '[]')
  await version()
  t.same(lines.filter(({ level }) => level === 'info').map(({ message }) => message), Array(2).fill('API_KEYS_FILE has changed; its keys are valid now'))
})

t.test('the volume of a Kubernetes Secret, which replaces a link to a folder, is noticed', async (t) => {
  const volume = t.testdir()
  await mkdir(join(volume, '..2026_01'))
  await writeFile(join(volume, '..2026_01', 'keys.json'), fileOf('old'))
  await symlink('..2026_01', join(volume, '..data'))
  await symlink(join('..data', 'keys.json'), join(volume, 'keys.json'))
  const { first, version } = await watch(t, join(volume, 'keys.json'))
  t.same(first, ['old'])
  await mkdir(join(volume, '..2026_02'))
  await writeFile(join(volume, '..2026_02', 'keys.json'), fileOf('new'))
  await symlink('..2026_02', join(volume, '..data_tmp'))
  await rename(join(volume, '..data_tmp'), join(volume, '..data'))
  await rm(join(volume, '..2026_01'), { recursive: true })
  await version('new')
})

t.test('a version that cannot be used changes nothing and is logged once', async (t) => {
  const path = join(t.testdir(), 'keys.json')
  const good = fileOf('a')
  await replace(path, good)
  const { version, versions, errors, lines } = await watch(t, path)
  const hash = hashApiKey(createApiKey()).toString('hex')
  await replace(path, `[{"name":"b","sha256":"${hash}","admin":1}]`)
  await errors(1)
  t.same(lines.find(({ level }) => level === 'error')?.faults, ['entry 1 (b): admin must be true or false'])
  await unlink(path)
  await errors(2)
  await replace(path, '[{')
  await errors(3)
  t.same(versions, [])
  t.notMatch(JSON.stringify(lines), hash)
  await replace(path, good)
  await version('a')
  await replace(path, fileOf('a', 'b'))
  await version('a', 'b')
  t.equal(lines.filter(({ level }) => level === 'error').length, 3)
})

t.test('a file that is missing or has a fault at the start is a start error without a hash', async (t) => {
  const path = join(t.testdir(), 'keys.json')
  const load = () => new KeysFile({ path, intervalMs: 1_000, onEntries: () => {}, log: { debug () {}, info () {}, warn () {}, error () {} } }).load()
  await t.rejects(load(), { name: 'StartError', message: `API_KEYS_FILE cannot be read: ${path}: ENOENT` })
  await writeFile(path, `[{"name":"b","sha256":"${hashApiKey(createApiKey()).toString('hex')}0"}]`)
  await t.rejects(load(), { name: 'StartError', message: `API_KEYS_FILE cannot be used: ${path}\n  - entry 1 (b): sha256 must be the SHA-256 of the key, 64 hexadecimal digits` })
})
