import { readFile } from 'node:fs/promises'
import t from 'tap'
import packageJson from '../../package.json' with { type: 'json' }

interface LockedPackage { hasInstallScript?: boolean }

const root = new URL('../../', import.meta.url)

t.test('docs/dependencies.md has a reason for each production dependency', async (t) => {
  const page = await readFile(new URL('docs/dependencies.md', root), 'utf8')
  const rows = Array.from(page.matchAll(/^\| `(.+)` \| (.+) \| (.+) \| (.+) \|$/gm), ([, name, reason]) => ({ name, reason }))
  t.same(rows.map(({ name }) => name), Object.keys(packageJson.dependencies), 'in the order of package.json')
  for (const { name, reason = '' } of rows) t.match(reason, /^[A-Z].{15,}\.$/, `the reason for ${name} is a sentence`)
  t.match(page, `${rows.length} dependencies bring `, 'the number of dependencies')
})

t.test('each package that has an install script is approved or denied, and no other is listed', async (t) => {
  const { packages } = JSON.parse(await readFile(new URL('package-lock.json', root), 'utf8')) as { packages: Record<string, LockedPackage> }
  const withScripts = Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript)
  const names = withScripts.map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length))
  t.same(names.toSorted(), Object.keys(packageJson.allowScripts).toSorted(), 'decide with `npm install-scripts approve` or `deny`')
})

t.test('package-lock.json names no registry, and has a checksum of each package', async (t) => {
  const lock = await readFile(new URL('package-lock.json', root), 'utf8')
  t.notMatch(lock, /"resolved":/)
  const { packages } = JSON.parse(lock) as { packages: Record<string, { integrity?: string, inBundle?: boolean }> }
  const unchecked = Object.entries(packages).filter(([path, { integrity = '', inBundle = false }]) => path !== '' && !inBundle && !integrity.startsWith('sha512-'))
  t.same(unchecked.map(([path]) => path), [])
})
