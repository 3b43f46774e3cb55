import { readFile } from 'node:fs/promises'
import t from 'tap'
import { parse } from 'yaml'
import { findLogMessages, readFileMessages, type LogMessages } from '../support/log-messages.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFile(new URL(path, root), 'utf8')
const runbook = await read('docs/operations.md')

/** The text below a heading of the second level. */
function section (heading: string): string {
  const [, text = ''] = runbook.split(`\n## ${heading}\n`)
  return text.split('\n## ')[0] ?? ''
}

/** The cells of the rows of all tables in a text that begin with a name in backticks. */
function rowsIn (text: string): string[][] {
  return Array.from(text.matchAll(/^\| `(.*)\|$/gm), ([, row = '']) => `\`${row}`.split(' | ').map((cell) => cell.trim()))
}

function withoutTicks (text = ''): string {
  return text.replaceAll('`', '')
}

t.test('docs/operations.md has each log line of level warn and above, with its level, and no other', async (t) => {
  const { messages, unreadable } = await findLogMessages()
  t.same(unreadable, [], 'the message of each line is a constant, so that it can be looked up')
  const rows = rowsIn(section('Log lines'))
  const written = new Set(messages.map(({ level, message }) => `${level} ${message}`))
  t.same(rows.map(([message, level]) => `${level} ${withoutTicks(message)}`).sort(), [...written].sort())
  for (const [message = '', , meaning = ''] of rows) t.match(meaning, /\w{3}.*\.$/, `${message} has a sentence`)
})

t.test('docs/operations.md has a section for each alert, and no other', async (t) => {
  const rules = (parse(await read('deploy/monitoring/alerts.yaml')) as { groups: Array<{ rules: Array<{ alert: string, labels: { severity: string } }> }> }).groups.flatMap((group) => group.rules)
  const alerts = section('Alerts').split('\n### ').slice(1)
  t.same(alerts.map((text) => text.split('\n')[0]), rules.map(({ alert }) => alert))
  for (const text of alerts) t.match(text, /^\w+\n\n.*\w{3}.*\./, text.split('\n', 1).join())
})

t.test('docs/operations.md says of each metric when to act, and of no other', async (t) => {
  const names = (text: string) => Array.from(text.matchAll(/`((?:dreamreel|process)_\w+)`/g), ([, name = '']) => name)
  const [, table = ''] = (await read('docs/metrics.md')).split('\n## All metrics\n')
  const all = rowsIn(table.split('\n## ')[0] ?? '').map(([name]) => withoutTicks(name))
  t.same([...new Set(names(section('Metrics')))].sort(), all.sort())
})

t.test('every form of a log line is found', async (t) => {
  const found: LogMessages = { messages: [], unreadable: [] }
  readFileMessages('example.ts', `
    const late = 'A constant'
    app.log.warn('Without members')
    this.#options.log.error({ err }, 'With members')
    log.fatal({ err }, late)
    log[isKnown ? 'debug' : 'error']({ err }, 'At two levels')
    new RepeatedFailure(log, { failed: 'Repeated', succeeded: 'Over' })
    write(JSON.stringify({ level: 40, msg: 'By hand' }))
    log.info({}, 'Not important')
    console.error('Not the log')
    log.warn({ err }, \`A \${template}\`)
  `, found)
  t.same(found.messages, [
    { level: 'warn', message: 'Without members' }, { level: 'error', message: 'With members' }, { level: 'fatal', message: 'A constant' },
    { level: 'error', message: 'At two levels' }, { level: 'warn', message: 'Repeated' }, { level: 'warn', message: 'By hand' }
  ])
  t.same(found.unreadable, ['example.ts:11'])
})
