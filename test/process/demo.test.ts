import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { NodeProcess } from '../../harness/node-process.ts'
import { until } from '../../harness/until.ts'

t.test('the demo takes free ports, prints the progress and the result of a task, and leaves no file behind', async (t) => {
  const folder = t.testdir()
  // The default ports are in use, by this test or by another program.
  for (const port of [3000, 3001]) await occupy(t, port)
  const demo = runDemo(t, { TMPDIR: folder })
  const command = await until(() => /curl -X POST '([^']+)'/.exec(demo.output())?.[1], `the line of curl: ${demo.output()}`)
  t.not(new URL(command).port, '3000')
  t.match(demo.output(), `Open ${new URL('/', command)} and type a dream`)
  t.equal((await fetch(new URL('/', command))).status, 200)
  const response = await fetch(command, { method: 'POST' })
  t.equal(response.status, 200)
  const { task_id: taskId } = await response.json() as { task_id: string }
  const last = await until(() => new RegExp(`${taskId} Animated: completed (http\\S+)`).exec(demo.output())?.[1], `the task to end: ${demo.output()}`)
  t.match(demo.output(), new RegExp(`${taskId} Animated: processing \\d+ %`))
  t.equal((await fetch(last)).status, 200)
  t.notMatch(demo.output().split('leaves nothing behind')[1], 'whale')
  t.equal((await demo.end('SIGTERM')).code, 0)
  t.same(await readdir(folder), [])
})

t.test('a requested port that is in use is one line', async (t) => {
  const port = await occupy(t, 0)
  const demo = runDemo(t, { PORT: String(port), EMULATOR_PORT: '0' })
  t.equal((await demo.end()).code, 1)
  t.match(demo.output(), new RegExp(`^The demo cannot listen on 127\\.0\\.0\\.1, PORT ${port}: [^\\n]*\\n$`))
})

/** @returns the port, which is in use until the test ends, by this test or by another program */
async function occupy (t: Test, port: number): Promise<number> {
  const server = createServer().listen(port, '127.0.0.1')
  const isOurs = await once(server, 'listening').then(() => true, () => false)
  if (!isOurs) return port
  t.teardown(() => { server.close() })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

function runDemo (t: Test, env: Record<string, string>): NodeProcess {
  const demo = new NodeProcess({ args: ['scripts/demo.ts'], env })
  t.teardown(() => demo.kill())
  return demo
}
