import pg from 'pg'
import t, { type Test } from 'tap'
import { PostgresServer } from '../../../harness/postgres-server.ts'
import { until } from '../../../harness/until.ts'
import type { EmulatorOptions } from '../../../replicate-emulator/app.ts'
import type { TaskView } from '../../../services/tasks/task-view.ts'
import { runService } from '../../support/running-service.ts'
import { startEmulator } from '../../support/service.ts'
import { startSilentProxy } from '../../support/silent-proxy.ts'

/** Only a request that hangs takes longer. */
const noHangMs = 25_000

t.test('requests during a restart of PostgreSQL wait for its end and succeed', async (t) => {
  const { postgres, request, post, ended, emulator } = await startBoth(t)
  const before = await post()
  await ended(before)
  await postgres.halt()
  const meanwhile = [request('/generate-video?dream=A%20whale&style=Cursed', 'POST'), request(`/video-status/${before}`), request('/readyz')]
  await postgres.resume()
  t.same((await Promise.all(meanwhile)).map(({ status }) => status), [200, 200, 200])
  const [created] = await Promise.all(meanwhile)
  t.match(await ended(created?.body.task_id), { status: 'completed' })
  t.equal(emulator.predictions.length, 2)
})

for (const mode of ['fast', 'immediate'] as const) {
  t.test(`while PostgreSQL is unavailable after a stop in mode ${mode} every request is refused in time, and every task continues afterwards`, async (t) => {
    const { postgres, request, post, ended, finishAll, emulator } = await startBoth(t, { generationMs: 600_000 })
    const taskIds = await Promise.all(Array.from({ length: 20 }, post))
    await until(() => emulator.predictions.length === 20 || undefined, 'every prediction to be created')
    await postgres.halt(mode)
    await finishAll()
    const refused = await Promise.all([
      request('/generate-video?dream=A%20whale&style=Cursed', 'POST'), request(`/video-status/${taskIds[0]}`), request('/readyz')
    ])
    for (const { status, headers, body } of refused) {
      t.equal(status, 503)
      t.match(headers.get('retry-after'), /^\d+$/)
      t.match(headers.get('content-type'), 'application/problem+json')
      t.match(body, { status: 503, code: 'store_unavailable' })
    }
    t.equal((await request('/livez')).status, 200)

    await postgres.resume()
    await until(async () => (await request('/readyz')).status === 200 || undefined, 'readiness to return')
    for (const taskId of [...taskIds, await post()]) {
      await finishAll()
      t.match(await ended(taskId), { status: 'completed' })
    }
    t.equal(emulator.predictions.length, 21)
  })
}

t.test('each outage of PostgreSQL is logged once when it begins and once when it ends', async (t) => {
  const { postgres, output } = await startBoth(t)
  const outages = () => output().split('The database is available again').map((lines) => lines.match(/"err":{[^\n]+The database is unavailable/g) ?? [])
  for (const time of [1, 2]) {
    await postgres.halt('immediate')
    await until(() => outages()[time - 1]?.length || undefined, 'the line of its beginning')
    await postgres.resume()
    await until(() => outages().length > time || undefined, 'the line of its end')
  }
  for (const lines of outages()) {
    const messages = lines.map((line) => /"message":"[^"]*"/.exec(line)?.[0])
    t.equal(new Set(messages).size, messages.length, 'no error is logged twice in one outage')
  }
  t.equal(outages().length, 3)
})

t.test('when PostgreSQL no longer responds every request is refused in time, and it is used again as soon as it responds', async (t) => {
  const { proxy, postgres, request, post, ended } = await startBoth(t)
  await ended(await post())
  const longer = await slowerClient(t, proxy.port, postgres.url)
  proxy.silence(true)
  const statement = longer.query('select 1').then(() => 'answered', () => 'timed out')
  // More requests than connections: a request does not wait for the timeouts of others first.
  const all = Promise.all(Array.from({ length: 20 }, () => [
    request('/generate-video?dream=A%20whale&style=Cursed', 'POST'), request('/video-status/00000000-0000-7000-8000-000000000000'), request('/readyz')
  ]).flat())
  t.equal(await Promise.race([all.then(() => 'refused'), statement]), 'refused')
  const refused = await all
  t.same(refused.map(({ status, body }) => [status, body]), refused.map(({ body }) => [503, { ...body, code: 'store_unavailable' }]))
  t.equal((await request('/livez')).status, 200)
  proxy.silence(false)
  await until(async () => (await request('/readyz')).status === 200 || undefined, 'readiness to return')
  t.match(await ended(await post()), { status: 'completed' })
})

t.test('requests succeed although their database connections are cut again and again', async (t) => {
  const { postgres, post, emulator } = await startBoth(t)
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  t.teardown(() => client.end())
  const taskIds: string[] = []
  const underWay = new Set<Promise<string>>()
  const cutting = new AbortController()
  const posts = Promise.all(Array.from({ length: 20 }, async () => {
    while (!cutting.signal.aborted) {
      const request = post()
      underWay.add(request)
      taskIds.push(await request)
      underWay.delete(request)
    }
  }))
  // A request that is cut off for as long as it may take is refused, so those that were cut off are answered before the next cut.
  const cuts = (async () => {
    for (let round = 0; round < 30; round++) {
      await client.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dreamreel'")
      await Promise.all(underWay)
    }
  })().finally(() => cutting.abort())
  await Promise.all([posts, cuts])
  // The tasks of a claim whose answer was cut off are claimed again when their leases expire.
  const states = async () => (await client.query('select state, count(*)::int as tasks from task group by state')).rows
  await until(async () => (await states()).every(({ state }) => state === 'completed' || state === 'failed') || undefined, 'every task to end', { timeoutMs: 60_000 })
  t.same(await states(), [{ state: 'completed', tasks: taskIds.length }])
  t.equal(emulator.predictions.length, taskIds.length)
})

/** A client whose statements time out as late as those of the service, which is later than its requests do. */
async function slowerClient (t: Test, port: number, databaseUrl: string): Promise<pg.Client> {
  const url = new URL(databaseUrl)
  url.port = String(port)
  const client = new pg.Client({ connectionString: url.href, query_timeout: 10_000 })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.end())
  return client
}

/** The service with a PostgreSQL server of its own. */
async function startBoth (t: Test, emulatorOptions: EmulatorOptions = {}) {
  const postgres = await PostgresServer.start()
  t.teardown(() => postgres.stop())
  const { emulator, apiUrl } = await startEmulator(t, emulatorOptions)
  const proxy = await startSilentProxy(t, postgres.port)
  const databaseUrl = postgres.url.replace(`:${postgres.port}`, `:${proxy.port}`)
  const service = await runService(t, { DATABASE_URL: databaseUrl, REPLICATE_API_URL: apiUrl })
  const url = await service.listeningUrl()
  const request = async (path: string, method = 'GET') => {
    const response = await fetch(`${url}${path}`, { method, signal: AbortSignal.timeout(noHangMs) })
    return { status: response.status, headers: response.headers, body: await response.json() as TaskView & { task_id: string } }
  }
  const post = async (): Promise<string> => {
    const { status, body } = await request('/generate-video?dream=A%20whale&style=Cursed', 'POST')
    if (status !== 200) throw new Error(JSON.stringify(body))
    return body.task_id
  }
  const ended = (taskId: string | undefined): Promise<TaskView> => until(async () => {
    const { body } = await request(`/video-status/${taskId}`)
    return body.status === 'completed' || body.status === 'failed' ? body : undefined
  }, `task ${taskId} to end`)
  const finishAll = async () => {
    await Promise.all(emulator.predictions.map(({ id }) => fetch(`${new URL(apiUrl).origin}/emulator/predictions/${id}/finish`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"status":"succeeded"}'
    })))
  }
  return { postgres, proxy, request, post, ended, finishAll, emulator, output: () => service.output() }
}
