import t, { type Test } from 'tap'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import { CallbackClient } from '../../services/callbacks/callback-client.ts'
import { CallbackSigner } from '../../services/callbacks/callback-message.ts'
import { deliverCallback, callbackSchedule } from '../../services/callbacks/deliver-callback.ts'
import { presentTask } from '../../services/tasks/task-view.ts'
import { newTask, type Task } from '../../services/tasks/task.ts'
import { startReceiver, verified } from '../support/callback-receiver.ts'
import { matchList } from '../support/match-list.ts'

const secret = newWebhookSecret()

function aTask (callbackUrl: string | null): Task {
  return { ...newTask('A whale', 'Cursed', 840, 1_000, { callbackUrl }), state: 'failed', failure: 'canceled' }
}

function scene (t: Test, secrets = secret) {
  const lines: Array<{ level: string, details: object, message: string }> = []
  const line = (level: string) => (details: object, message: string) => { lines.push({ level, details, message }) }
  const options = {
    client: new CallbackClient({ allowPrivate: true, timeoutMs: 1_000 }),
    signer: new CallbackSigner(secrets),
    present: (task: Task) => presentTask(task, { origin: 'http://127.0.0.1', retentionMs: null }),
    schedule: callbackSchedule,
    userAgent: 'Dreamreel/test',
    log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
  }
  return { lines, attempt: (task: Task, attempt = 1) => deliverCallback({ id: task.id, task, attempt }, options) }
}

const [second, minute, hour] = [1_000, 60_000, 3_600_000]

t.test('a failed attempt is repeated after 5 s, 5 min, 30 min, 2 h, 5 h and 10 h, and then no more', async (t) => {
  const { url } = await startReceiver(t, 500)
  const { attempt, lines } = scene(t)
  const waits = [5 * second, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour]
  for (const [index, wait] of waits.entries()) {
    const next = await attempt(aTask(url), index + 1)
    t.ok(next !== undefined && next.inMs >= wait && next.inMs <= wait * 1.1, `attempt ${index + 1}: ${next?.inMs}`)
  }
  t.equal(await attempt(aTask(url), 7), undefined)
  t.same(lines.map(({ level }) => level), ['warn', 'warn', 'warn', 'warn', 'warn', 'warn', 'error'])
})

t.test('any 2xx and 410 end a delivery, and nothing else does', async (t) => {
  for (const status of [200, 201, 202, 204, 299, 410]) {
    const { url } = await startReceiver(t, status)
    t.equal(await scene(t).attempt(aTask(url)), undefined, String(status))
  }
  for (const status of [301, 302, 303, 307, 308, 304, 400, 401, 404, 408, 409, 422, 429, 500, 503]) {
    const { url, received } = await startReceiver(t, (response) => response.writeHead(status, { location: '/elsewhere' }).end())
    t.ok(await scene(t).attempt(aTask(url)), String(status))
    t.equal(received.length, 1)
  }
  t.ok(await scene(t).attempt(aTask('http://127.0.0.1:1/')))
})

t.test('a longer Retry-After is respected, up to a day', async (t) => {
  const asked = async (retryAfter: string) => {
    const { url } = await startReceiver(t, (response) => response.writeHead(503, { 'retry-after': retryAfter }).end())
    return (await scene(t).attempt(aTask(url)))?.inMs ?? 0
  }
  const longer = await asked('120')
  t.ok(longer >= 120 * second && longer <= 132 * second, String(longer))
  const date = await asked(new Date(Date.now() + 10 * minute).toUTCString())
  t.ok(date >= 9 * minute && date <= 11 * minute, String(date))
  for (const ignored of ['1', '-5', 'soon', '', new Date(0).toUTCString()]) t.ok(await asked(ignored) <= 5.5 * second, ignored)
  t.ok(await asked('99999999') <= 24 * hour * 1.1)
})

t.test('each attempt is one log line, with neither the address nor the dream', async (t) => {
  const { url } = await startReceiver(t, 500, 204, 410)
  const { attempt, lines } = scene(t)
  const task = aTask(url)
  for (const number of [1, 2, 3]) await attempt(task, number)
  await attempt(aTask('http://127.0.0.1:1/dreams?of=a-caller'), 3)
  matchList(t, lines, [
    { level: 'warn', details: { task_id: task.id, attempt: 1, status: 500, callback_host: new URL(url).host, next_in_s: 5 }, message: /trying again/ },
    { level: 'info', details: { task_id: task.id, attempt: 2, status: 204 }, message: 'Callback delivered' },
    { level: 'info', details: { attempt: 3, status: 410 }, message: 'Callback refused for good by its receiver' },
    { level: 'warn', details: { attempt: 3, reason: 'ECONNREFUSED' } }
  ])
  t.equal(lines.length, 4)
  t.notMatch(JSON.stringify(lines), /dreams|a-caller|whale|whsec/)
})

t.test('while secrets are rotated, every message is signed with each of them', async (t) => {
  const { url, received } = await startReceiver(t)
  const newer = newWebhookSecret()
  const task = aTask(url)
  await scene(t, `${secret} ${newer}`).attempt(task)
  const [message] = received
  if (message === undefined) throw new Error('Nothing received')
  for (const known of [secret, newer]) t.match(verified(known, message), { type: 'video.failed', data: { task_id: task.id } })
  t.throws(() => verified(newWebhookSecret(), message), { name: 'Error' })
  t.throws(() => verified(secret, { ...message, body: message.body.replace('failed', 'completed') }))
})
