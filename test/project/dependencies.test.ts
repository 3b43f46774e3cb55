import { readFile } from 'node:fs/promises'
import t from 'tap'
import packageJson from '../../package.json' with { type: 'json' }

const root = new URL('../../', import.meta.url)

t.test('docs/dependencies.md has a reason for each production dependency', async (t) => {
  const page = await readFile(new URL('docs/dependencies.md', root), 'utf8')
  const rows = Array.from(page.matchAll(/^\| `(.+)` \| (.+) \| (.+) \| (.+) \|$/gm), ([, name, reason]) => ({ name, reason }))
  t.same(rows.map(({ name }) => name), Object.keys(packageJson.dependencies), 'in the order of package.json')
  for (const { name, reason = '' } of rows) t.match(reason, /^[A-Z].{15,}\.$/, `the reason for ${name} is a sentence`)
  t.match(page, `${rows.length} dependencies bring `, 'the number of dependencies')
})
