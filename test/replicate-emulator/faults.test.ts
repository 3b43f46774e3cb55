import t from 'tap'
import { runningEmulator } from './running-emulator.ts'

async function codeOf (call: Promise<unknown>): Promise<unknown> {
  return call.then(() => undefined, ({ cause }) => cause?.code)
}

t.test('a status fault is a problem with retry-after, and makes no prediction', async (t) => {
  const { emulator, create } = await runningEmulator(t)
  emulator.addFault({ call: 'create', kind: 'status', status: 429, retry_after: 7, detail: 'slower' })
  const response = await create()
  t.equal(response.status, 429)
  t.equal(response.headers.get('retry-after'), '7')
  t.match(await response.json(), { status: 429, detail: 'slower', retry_after: 7 })
  t.equal(emulator.predictions.length, 0)
  t.equal(emulator.calls.create, 1)
  t.equal((await create()).status, 201, 'it stood for one call')
})

t.test('a status fault may come after the effect', async (t) => {
  const { emulator, create } = await runningEmulator(t)
  emulator.addFault({ call: 'create', kind: 'status', status: 503, after: true })
  t.equal((await create()).status, 503)
  t.equal(emulator.predictions.length, 1)
})

t.test('an html fault is a page', async (t) => {
  const { emulator, create } = await runningEmulator(t)
  emulator.addFault({ call: 'any', kind: 'html', status: 502 })
  const response = await create()
  t.match(response.headers.get('content-type'), 'text/html')
  t.match(await response.text(), '<h1>502</h1>')
})

t.test('a reset before leaves nothing, a reset after leaves a prediction', async (t) => {
  const { emulator, create } = await runningEmulator(t)
  emulator.addFault({ call: 'create', kind: 'reset_before' })
  t.equal(await codeOf(create()), 'ECONNRESET')
  t.equal(emulator.predictions.length, 0)
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  t.equal(await codeOf(create()), 'ECONNRESET')
  t.equal(emulator.predictions.length, 1)
})

t.test('a malformed answer is cut, an empty one is empty, a slow one is whole', async (t) => {
  const { emulator, create } = await runningEmulator(t)
  for (const kind of ['malformed', 'empty'] as const) {
    emulator.addFault({ call: 'create', kind })
    const response = await create()
    t.equal(response.status, 201)
    await t.rejects(response.json(), SyntaxError)
  }
  emulator.addFault({ call: 'create', kind: 'slow', ms: 30 })
  t.match(await (await create()).json(), { status: 'starting' })
  t.equal(emulator.predictions.length, 3)
})

t.test('a call without an answer does not delay the close', async (t) => {
  const { app, emulator, create } = await runningEmulator(t)
  emulator.addFault({ call: 'create', kind: 'hang', after: true })
  const made = new Promise((resolve) => emulator.log.changes.once('created', resolve))
  const call = codeOf(create())
  await made
  await app.close()
  t.ok(await call, 'the connection was ended')
})

t.test('the same seed selects the same share of the calls', async (t) => {
  const runs = []
  for (const seed of [7, 7]) {
    const { emulator, get } = await runningEmulator(t, { seed })
    emulator.addFault({ call: 'account', kind: 'status', share: 0.5, times: 20 })
    const statuses = []
    for (let call = 0; call < 24; call++) statuses.push((await get('/v1/account')).status)
    runs.push(statuses)
  }
  t.same(runs[0], runs[1])
  t.ok(runs[0]?.includes(500) && runs[0].slice(0, 20).includes(200))
  t.same(runs[0]?.slice(20), [200, 200, 200, 200], 'twenty calls used it up')
})

t.test('a fault that does not match the schema is refused', async (t) => {
  const { emulator } = await runningEmulator(t)
  t.throws(() => emulator.addFault({ call: 'get', kind: 'status', status: 200 }), TypeError)
})
