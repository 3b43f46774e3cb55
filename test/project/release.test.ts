import { execFile } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { changesOf, releaseChanges } from '../../scripts/changelog.ts'

const root = new URL('../../', import.meta.url)
const run = promisify(execFile)

t.test('a release moves the unreleased changes into a section of its version', async (t) => {
  const changelog = await readFile(new URL('CHANGELOG.md', root), 'utf8')
  const unreleased = changesOf(changelog, 'Unreleased')
  t.match(unreleased, '### ')
  const released = releaseChanges(changelog, '0.1.0', '2027-01-31')
  t.match(released, '\n## Unreleased\n\nNothing yet.\n\n## 0.1.0 – 2027-01-31\n\n')
  t.equal(changesOf(released, '0.1.0'), unreleased)
  t.equal(changesOf(released, 'Unreleased'), 'Nothing yet.')
  t.throws(() => releaseChanges(released, '0.2.0', '2027-02-28'), { message: /no unreleased changes/ })
  const changed = released.replace('Nothing yet.', () => '- $& is a change')
  t.throws(() => releaseChanges(changed, '0.1.0', '2027-02-28'), { message: /already/ })
  t.equal(changesOf(releaseChanges(changed, '0.1.1', '2027-02-28'), '0.1.1'), '- $& is a change')
  t.throws(() => changesOf(changelog, '9.9.9'), { message: /no section for 9\.9\.9/ })
})

t.test('a version that is none is refused', async (t) => {
  for (const version of ['', '1.2', 'v1.2.3', '1.2.3; true', '01.2.3']) {
    const failure = await t.rejects(run(process.execPath, ['scripts/release.ts', version], { cwd: fileURLToPath(root) })) as unknown as { stderr: string }
    t.match(failure.stderr, 'is not a version such as 1.2.3')
  }
})

t.test('the commit of a release and its tag are pushed together or not at all', async (t) => {
  const folder = t.testdir({ work: { file: 'before' } })
  const work = join(folder, 'work')
  const git = async (...args: string[]) => (await run('git', args, { cwd: work, env: { PATH: process.env.PATH, HOME: folder } })).stdout.trim()
  const push = (version: string) => run(fileURLToPath(new URL('.github/push-release', root)), [version], { cwd: work, env: { PATH: process.env.PATH, HOME: folder } })
  await git('init', '--quiet', '--bare', '../origin')
  await git('init', '--quiet', '--initial-branch', 'main')
  await git('remote', 'add', 'origin', '../origin')
  await git('add', '.')
  await git('-c', 'user.name=x', '-c', 'user.email=x@localhost', 'commit', '--quiet', '-m', 'First')
  await git('push', '--quiet', 'origin', 'main')

  await writeFile(join(work, 'file'), '1.2.3')
  await push('1.2.3')
  t.equal(await git('ls-remote', 'origin', 'refs/heads/main').then((line) => line.split('\t')[0]), await git('rev-parse', 'HEAD'))
  t.equal(await git('ls-remote', 'origin', 'refs/tags/v1.2.3^{}').then((line) => line.split('\t')[0]), await git('rev-parse', 'HEAD'))
  t.equal(await git('log', '-1', '--format=%s'), 'Release 1.2.3')

  // Someone else pushed in the meantime.
  await git('checkout', '--quiet', '-b', 'other', 'HEAD~')
  await git('-c', 'user.name=x', '-c', 'user.email=x@localhost', 'commit', '--quiet', '--allow-empty', '-m', 'Other')
  await git('push', '--quiet', '--force', 'origin', 'other:main')
  await git('checkout', '--quiet', 'main')
  await writeFile(join(work, 'file'), '1.2.4')
  await t.rejects(push('1.2.4'))
  t.equal(await git('ls-remote', 'origin', 'refs/heads/main').then((line) => line.split('\t')[0]), await git('rev-parse', 'other'))
  t.equal(await git('ls-remote', 'origin', 'refs/tags/v1.2.4'), '', 'no tag without its commit')
})

t.test('the list of components has every production package of the lockfile, and no other', async (t) => {
  const { stdout } = await run('npm', ['run', '--silent', 'sbom'], { cwd: fileURLToPath(root), maxBuffer: 16 * 1024 * 1024 })
  const { bomFormat, metadata, components } = JSON.parse(stdout) as { bomFormat: string, metadata: { component: { name: string } }, components: Array<{ purl: string }> }
  t.equal(bomFormat, 'CycloneDX')
  t.equal(metadata.component.name, 'dreamreel')
  const { packages } = JSON.parse(await readFile(new URL('package-lock.json', root), 'utf8')) as { packages: Record<string, { version: string, dev?: boolean }> }
  const installed = Object.entries(packages).filter(([path, { dev = false }]) => path !== '' && !dev)
  const addresses = installed.map(([path, { version }]) => `pkg:npm/${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length).replace('@', '%40')}@${version}`)
  t.same(components.map(({ purl }) => purl).toSorted(), Array.from(new Set(addresses)).toSorted())
})

interface Workflow { permissions: Record<string, string>, jobs: Record<string, { permissions?: Record<string, string>, steps?: Array<{ run?: string }> }> }

const workflows = new URL('.github/workflows/', root)
for (const name of await readdir(workflows)) {
  t.test(`${name} names each action by its commit, and grants no more than is needed`, async (t) => {
    const text = await readFile(new URL(name, workflows), 'utf8')
    for (const [, action] of text.matchAll(/uses: (.+)/g)) {
      if (action?.startsWith('./')) continue
      t.match(action, /^[\w.-]+\/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
    }
    const { permissions, jobs } = parse(text) as Workflow
    t.same(Object.entries(permissions).filter(([, level]) => level !== 'read'), [], 'what holds for all jobs only reads')
    const runs = Object.values(jobs).flatMap(({ steps = [] }) => steps.flatMap((step) => step.run ?? []))
    for (const command of runs) t.notMatch(command, '${{', 'values come as variables, so that none becomes a command')
  })
}
