import t from 'tap'
import { NodeProcess } from '../../harness/node-process.ts'
import { hashApiKey, isApiKey } from '../../services/access/api-key.ts'
import { parseKeyEntries } from '../../services/access/key-entries.ts'

async function run (...args: string[]) {
  const made = new NodeProcess({ args: ['scripts/api-key.ts', ...args] })
  const { code } = await made.ended
  return { code, output: made.output() }
}

t.test('a new key is printed once, with the entry that makes it valid', async (t) => {
  const { code, output } = await run('studio')
  t.equal(code, 0)
  const lines = output.split('\n')
  const [key = ''] = lines.filter(isApiKey)
  const [entry = ''] = lines.filter((line) => line.startsWith('{'))
  t.equal(output.split(key).length, 2)
  const parsed = parseKeyEntries(`[${entry}]`)
  t.match(parsed, { ok: true, entries: [{ name: 'studio', isAdmin: false, expiresAt: null }] })
  t.same(parsed.ok && parsed.entries[0]?.sha256, hashApiKey(key))
})

t.test('a name that no entry can have makes no key', async (t) => {
  for (const args of [[], ['a', 'b'], ['anonymous'], ['two words']]) {
    const { code, output } = await run(...args)
    t.equal(code, 1, args.join(' '))
    t.notMatch(output, /drm_/)
  }
  t.match((await run('two words')).output, /name must be 1 to 63 letters/)
})
