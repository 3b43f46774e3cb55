import { access, readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import packageJson from '../../package.json' with { type: 'json' }

const root = new URL('../../', import.meta.url)
const entries = await readdir(root, { withFileTypes: true })
const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
const documents = [
  'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'replicate-emulator/README.md', '.github/pull_request_template.md',
  ...(await readdir(new URL('docs/', root))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)
]

for (const name of documents) {
  const text = await readFile(new URL(name, root), 'utf8')

  t.test(`${name} names npm scripts that exist`, async (t) => {
    const named = Array.from(text.matchAll(/npm run ([a-z][\w:-]*)/g), ([, script]) => String(script))
    t.same(named.filter((script) => !(script in packageJson.scripts)), [])
  })

  t.test(`${name} names files that exist`, async (t) => {
    for (const path of pathsIn(text)) t.ok(await exists(new URL(path, root)), path)
  })

  t.test(`the links of ${name} lead somewhere`, async (t) => {
    for (const [, target = ''] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      const { protocol, pathname, hash } = new URL(target, new URL(name, root))
      if (protocol !== 'file:') continue
      const file = new URL(pathname, root)
      const anchors = await exists(file) ? anchorsOf(await readFile(file, 'utf8')) : undefined
      t.ok(anchors !== undefined && (hash === '' || anchors.has(hash.slice(1))), target)
    }
  })
}

/** Every path that begins with a folder of the project, and every source or configuration file of the root in backticks. */
function pathsIn (text: string): Set<string> {
  const inFolders = new RegExp(String.raw`(?<![\w./-])(?:${folders.join('|').replaceAll('.', String.raw`\.`)})/[\w./-]*\w`, 'g')
  const ofRoot = Array.from(text.matchAll(/`([\w-][\w.-]*\.(?:ts|md|json|yaml))`/g), ([, path]) => String(path))
  return new Set([...text.match(inFolders) ?? [], ...ofRoot])
}

function withoutCode (text: string): string {
  return text.replace(/^```[^]*?^```$/gm, '')
}

/** The names by which GitHub links to headings. */
function anchorsOf (text: string): Set<string> {
  const headings = Array.from(withoutCode(text).matchAll(/^#+ (.*)$/gm), ([, heading = '']) => heading)
  return new Set(headings.map((heading) => heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')))
}

function exists (url: URL): Promise<boolean> {
  return access(url).then(() => true, () => false)
}
