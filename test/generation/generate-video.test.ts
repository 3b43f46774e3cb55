import t from 'tap'
import { until } from '../../harness/until.ts'
import { matchList } from '../support/match-list.ts'
import { ended, postDream, startService, statusOf } from '../support/service.ts'

const uuidv7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const generate = (query: Record<string, string | string[]>) => ({ method: 'POST', url: '/generate-video', query }) as const

t.test('a dream is accepted at once', async (t) => {
  const { app } = await startService(t)
  const response = await app.inject(generate({ dream: '  A whale 🐋  ', style: 'Cursed' }))
  t.equal(response.statusCode, 200)
  t.match(response.json(), { task_id: uuidv7, status: 'pending' })
  t.same(Object.keys(response.json()), ['task_id', 'status'])
  t.match(response.headers, {
    'content-type': /^application\/json/,
    location: `/video-status/${response.json().task_id}`,
    'retry-after': '5',
    vary: 'Prefer'
  })
  t.notOk('preference-applied' in response.headers)
})

t.test('a dream becomes a video', async (t) => {
  const { app, emulator } = await startService(t)
  const taskId = await postDream(app, '  A whale 🐋 ', 'Animated')
  const task = await ended(app, taskId)
  t.same(Object.keys(task), [
    'task_id', 'status', 'dream', 'style', 'video_url', 'error', 'created_at', 'updated_at', 'error_code', 'progress', 'revision', 'poster_url',
    'expires_at'
  ])
  t.match(task, {
    task_id: taskId, status: 'completed', dream: 'A whale 🐋', style: 'Animated', error: null, error_code: null, progress: null, revision: 3
  })
  t.match(task.created_at, time)
  t.match(task.updated_at, time)
  matchList(t, emulator.predictions, [{
    model: 'luma/ray',
    input: { prompt: 'Beautiful, cute, Japanese animation woodblock style. A whale 🐋', aspect_ratio: '9:16' }
  }])
  t.equal(emulator.predictions.length, 1)
})

t.test('a client sees pending, then processing with a progress that never falls, then the end', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600 } })
  emulator.addOutcome({ status: 'succeeded', progress: true })
  const taskId = await postDream(app)
  const seen = [await statusOf(app, taskId)]
  await until(async () => {
    seen.push(await statusOf(app, taskId))
    return seen.at(-1)?.status === 'completed' || undefined
  }, 'the end')
  const order = ['pending', 'processing', 'completed']
  t.same(Array.from(new Set(seen.map(({ status }) => status))), order)
  const progress = seen.map(({ progress }) => progress ?? -1)
  t.same(progress, progress.toSorted((a, b) => a - b))
  t.ok(progress.some((value) => value > 0 && value < 100))
  const revisions = seen.map(({ revision }) => revision)
  t.same(revisions, revisions.toSorted((a, b) => a - b))
})

t.test('while a task runs its status says when to ask again', async (t) => {
  const { app } = await startService(t, { emulator: { generationMs: 60_000 } })
  const taskId = await postDream(app)
  const running = await app.inject(`/video-status/${taskId}`)
  t.match(running.headers, { 'retry-after': '5', 'cache-control': 'no-store' })
})

t.test('the status of a task that has ended does not say when to ask again', async (t) => {
  const { app } = await startService(t)
  const taskId = await postDream(app)
  await ended(app, taskId)
  const response = await app.inject(`/video-status/${taskId}`)
  t.notOk('retry-after' in response.headers)
  t.equal(response.headers['cache-control'], 'no-store')
})

t.test('an id is the same in upper case', async (t) => {
  const { app } = await startService(t)
  const taskId = await postDream(app)
  t.equal((await statusOf(app, taskId.toUpperCase())).task_id, taskId)
})

t.test('an id that belongs to no task is 404', async (t) => {
  const { app } = await startService(t)
  for (const id of ['x', '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21', '%F0%9F%90%8B', 'a'.repeat(10_000), '%00']) {
    const response = await app.inject(`/video-status/${id}`)
    t.equal(response.statusCode, 404, id.slice(0, 40))
    t.match(response.json(), { code: 'task_not_found' })
  }
})

t.test('Prefer: respond-async is answered 202', async (t) => {
  const { app } = await startService(t)
  for (const prefer of ['respond-async', 'wait=10, Respond-Async', 'respond-async; x="1"']) {
    const response = await app.inject({ ...generate({ dream: 'A whale', style: 'Realistic' }), headers: { prefer } })
    t.equal(response.statusCode, 202, prefer)
    t.equal(response.headers['preference-applied'], 'respond-async')
  }
})

t.test('a Prefer that cannot be used is ignored', async (t) => {
  const { app } = await startService(t)
  for (const prefer of ['', ',,;=', 'respond-asynchronously', '"respond-async"', 'wait=never', '\u00ff']) {
    const response = await app.inject({ ...generate({ dream: 'A whale', style: 'Realistic' }), headers: { prefer } })
    t.equal(response.statusCode, 200, prefer)
  }
})

t.test('every fault of a request is listed', async (t) => {
  const { app, emulator } = await startService(t)
  const missing = [{ loc: ['query', 'dream'], type: 'missing' }, { loc: ['query', 'style'], type: 'missing' }]
  const cases: Array<[string, object[]]> = [
    ['', missing],
    ['?', missing],
    ['?dream=&style=realistic', [{ loc: ['query', 'dream'], type: 'too_short' }, { loc: ['query', 'style'], type: 'enum' }]],
    ['?dream=%20%09%0A&style=', [{ loc: ['query', 'dream'], type: 'too_short' }, { loc: ['query', 'style'], type: 'enum' }]],
    ['?dream=%ff&style=x', [{ loc: ['query', 'dream'], type: 'encoding' }, { loc: ['query', 'style'], type: 'enum' }]],
    ['?dream=50%&style=Cursed', [{ loc: ['query', 'dream'], type: 'encoding' }]],
    ['?dream=%ED%A0%80&style=Cursed', [{ loc: ['query', 'dream'], type: 'encoding' }]],
    ['?dream=a%00b&style=Cursed', [{ loc: ['query', 'dream'], type: 'null_character' }]],
    ['?dream=a&dream=b&style=Cursed', [{ loc: ['query', 'dream'], type: 'repeated' }]],
    [`?dream=${'%F0%9F%90%8B'.repeat(2_001)}&style=Cursed`, [{ loc: ['query', 'dream'], type: 'too_long' }]]
  ]
  for (const [query, errors] of cases) {
    const response = await app.inject({ method: 'POST', url: `/generate-video${query}` })
    t.equal(response.statusCode, 422, query.slice(0, 60))
    t.match(response.json(), { code: 'validation_failed', errors })
    t.equal(response.json().errors.length, errors.length)
  }
  t.equal(emulator.calls.create, 0)
})

t.test('a dream of 2,000 four-byte characters passes, over a real socket', async (t) => {
  const { app } = await startService(t)
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const dream = '🐋'.repeat(2_000)
  const post = (text: string) => fetch(`${address}/generate-video?${new URLSearchParams({ dream: text, style: 'Animated' })}`, { method: 'POST' })
  const accepted = await post(` ${dream} `)
  t.equal(accepted.status, 200)
  const { task_id: taskId } = await accepted.json() as { task_id: string }
  t.equal((await statusOf(app, taskId)).dream, dream)
  t.equal((await post(`${dream}🐋`)).status, 422)
})

t.test('a body of any kind is read and ignored', async (t) => {
  const { app } = await startService(t)
  const types = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain', 'nonsense', '', undefined]
  for (const type of types) {
    for (const payload of ['', '{"broken', 'x'.repeat(100_000)]) {
      const response = await app.inject({
        ...generate({ dream: 'A whale', style: 'Realistic' }),
        headers: type === undefined ? {} : { 'content-type': type },
        payload
      })
      t.equal(response.statusCode, 200, `${type}, ${payload.length} bytes`)
    }
  }
})

t.test('a body over the limit is 413', async (t) => {
  const { app, emulator } = await startService(t)
  const response = await app.inject({ ...generate({ dream: 'A whale', style: 'Realistic' }), payload: Buffer.alloc(1024 * 1024 + 1) })
  t.equal(response.statusCode, 413)
  t.match(response.json(), { code: 'payload_too_large' })
  t.equal(emulator.calls.create, 0)
})

t.test('neither dream nor token reaches the log, whatever Replicate says', async (t) => {
  const { app, emulator, logLines } = await startService(t, { env: { REPLICATE_API_TOKEN: 'token-not-to-be-logged' } })
  const dream = 'Zebras "quote" the ünspeakable\nforest'
  emulator.addOutcome({ status: 'failed', error: `Prompt rejected: ${dream}`, times: 1 })
  const failed = await ended(app, await postDream(app, dream))
  t.equal(failed.error_code, 'provider_error')
  emulator.addFault({ call: 'create', kind: 'status', status: 422, detail: `input.prompt: ${JSON.stringify(dream)} is not allowed`, times: 1 })
  const refused = await ended(app, await postDream(app, dream))
  t.equal(refused.error_code, 'invalid_input')
  await app.inject({ method: 'POST', url: `/generate-video?dream=${encodeURIComponent(dream)}&style=none` })
  const log = logLines.join('')
  for (const secret of ['Zebras', 'ünspeakable', '%C3%BCnspeakable', 'token-not-to-be-logged']) t.notOk(log.includes(secret), secret)
  for (const taskId of [failed.task_id, refused.task_id]) t.ok(log.includes(taskId))
  t.ok(log.includes('withheld'))
})
