import { access, glob, readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import packageJson from '../../package.json' with { type: 'json' }
import { transitions } from '../../services/tasks/task.ts'

const root = new URL('../../', import.meta.url)
const entries = await readdir(root, { withFileTypes: true })
const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
const documents = [
  'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', 'replicate-emulator/README.md', '.github/pull_request_template.md',
  ...(await readdir(new URL('docs/', root))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)
]

/** The prefix of the emulator's settings. */
const emulatorPrefix = /^EMULATOR_/
const namesOfBrowsers = new Set(['EventSource'])
const sourceText = await readSources()

for (const name of documents) {
  const text = await readFile(new URL(name, root), 'utf8')

  t.test(`${name} names npm scripts that exist`, async (t) => {
    const named = Array.from(text.matchAll(/npm run ([a-z][\w:-]*)/g), ([, script]) => String(script))
    t.same(named.filter((script) => !(script in packageJson.scripts)), [])
  })

  t.test(`${name} names files that exist`, async (t) => {
    for (const path of pathsIn(text)) t.ok(await exists(new URL(path, root)), path)
  })

  t.test(`${name} names symbols, settings and members that exist`, async (t) => {
    for (const [, symbol = ''] of text.matchAll(/`((?=\w*(?:[a-z][A-Z]|_[A-Za-z]))\w+)`/g)) {
      const isNamed = new RegExp(`\\b${symbol.replace(emulatorPrefix, '')}\\b`).test(sourceText)
      t.ok(isNamed || namesOfBrowsers.has(symbol), symbol)
    }
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

t.test('CONTRIBUTING.md shows what each room may import', async (t) => {
  const rows = tableIn(await readFile(new URL('CONTRIBUTING.md', root), 'utf8'), '| room |')
  const documented = rows.map(([room = '', , imports = '']) => `services/${room.replaceAll('`', '')} imports ${imports === 'nothing' ? 'no other room' : `only ${imports}`}.`)
  const { default: { forbidden } } = await import(new URL('.dependency-cruiser.js', root).href) as { default: { forbidden: Array<{ name: string, comment?: string }> } }
  t.same(documented, forbidden.filter(({ name }) => name.startsWith('room-')).map(({ comment }) => comment))
})

t.test('docs/design.md shows the table of transitions', async (t) => {
  const rows = tableIn(await readFile(new URL('docs/design.md', root), 'utf8'), '| transition |')
  t.same(rows, Object.entries(transitions).map(([type, { from, to }]) => [`\`${type}\``, from.join(', '), to]))
})

/** @returns the text in which every name that a document mentions has to occur: all files except for the documents */
async function readSources (): Promise<string> {
  const texts: string[] = []
  const exclude = ['node_modules/**', '.tap/**', 'data/**', 'package-lock.json']
  for await (const path of glob(['**/*.{ts,sql,yaml,conf,json}', '.github/**/*.yml'], { cwd: root, exclude })) {
    texts.push(await readFile(new URL(path, root), 'utf8'))
  }
  return texts.join('\n')
}

/** @returns the rows of the Markdown table whose header begins like this */
function tableIn (text: string, head: string): string[][] {
  const [table = ''] = text.slice(text.indexOf(`\n${head}`) + 1).split('\n\n')
  return table.split('\n').slice(2).map((row) => row.split('|').slice(1, -1).map((cell) => cell.trim()))
}

/** @returns every path that begins with a folder of the project, and every source or configuration file of the root in backticks */
function pathsIn (text: string): Set<string> {
  const inFolders = new RegExp(String.raw`(?<![\w./-])(?:${folders.join('|').replaceAll('.', String.raw`\.`)})/[\w./-]*\w`, 'g')
  const ofRoot = Array.from(text.matchAll(/`([\w-][\w.-]*\.(?:ts|md|json|yaml))`/g), ([, path]) => String(path))
  return new Set([...text.match(inFolders) ?? [], ...ofRoot])
}

function withoutCode (text: string): string {
  return text.replace(/^```[^]*?^```$/gm, '')
}

/** @returns the anchors that GitHub makes of headings */
function anchorsOf (text: string): Set<string> {
  const headings = Array.from(withoutCode(text).matchAll(/^#+ (.*)$/gm), ([, heading = '']) => heading)
  return new Set(headings.map((heading) => heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')))
}

function exists (url: URL): Promise<boolean> {
  return access(url).then(() => true, () => false)
}
