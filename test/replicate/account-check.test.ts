import t, { type Test } from 'tap'
import { closedPort } from '../../harness/listen.ts'
import { until } from '../../harness/until.ts'
import { AccountCheck } from '../../services/replicate/account-check.ts'
import type { AccountOutcome } from '../../services/replicate/outcomes.ts'
import { type startEmulator, startService } from '../support/service.ts'

type Line = Record<string, unknown>

t.test('a token that Replicate refuses is an error in the log, and the service is ready all the same', async (t) => {
  const { app, emulator, lineWith } = await listening(t, { emulator: { token: 'another-token' } })
  t.match(await lineWith('Replicate refuses REPLICATE_API_TOKEN'), { level: 50, provider_status: 401 })
  t.equal((await app.inject('/readyz')).statusCode, 200)
  t.equal(emulator.calls.account, 1)
})

t.test('a token that Replicate accepts is logged once', async (t) => {
  const { emulator, lineWith } = await listening(t)
  t.match(await lineWith('Replicate takes REPLICATE_API_TOKEN'), { level: 30 })
  t.equal(emulator.calls.account, 1)
})

t.test('an unreachable Replicate is a warning, and neither readiness nor the stop waits for it', async (t) => {
  const { app, lineWith } = await listening(t, { env: { REPLICATE_API_URL: `http://127.0.0.1:${await closedPort()}/v1` } })
  t.match(await lineWith('Replicate cannot be asked'), { level: 40, provider_message: /ECONNREFUSED/ })
  t.equal((await app.inject('/readyz')).statusCode, 200)
})

t.test('a call that hangs is aborted at the stop', async (t) => {
  const { app, emulator, lines } = await listening(t, { faults: ['hang'] })
  await until(() => emulator.calls.account > 0 || undefined, 'the check to be under way')
  await app.close()
  t.same(lines().filter(({ level }) => Number(level) > 30), [])
})

t.test('an instance that does not listen makes no check', async (t) => {
  const { app, emulator } = await startService(t)
  await app.inject('/readyz')
  await app.close()
  t.equal(emulator.calls.account, 0)
})

const unavailable: AccountOutcome = { outcome: 'unavailable', failure: { code: 'provider_unavailable', status: 503, message: 'later', retryAfterMs: null } }

for (const { answers, calls, said, title } of [
  { title: 'while Replicate is unavailable it is asked a few times, and no more', answers: [], calls: 6, said: [/cannot be asked/, /not asked again/] },
  { title: 'it is asked again until it answers', answers: [unavailable, unavailable, { outcome: 'accepted' as const }], calls: 3, said: [/cannot be asked/, /^Replicate takes/] }
]) {
  t.test(title, async (t) => {
    const lines: string[] = []
    const write = (_details: object, message: string) => { lines.push(message) }
    let asked = 0
    const replicate = { account: async () => answers[asked++] ?? unavailable }
    const check = new AccountCheck({ replicate, log: { debug: write, info: write, warn: write, error: write }, retry: { firstMs: 1, maxMs: 1 } })
    check.start()
    await until(() => lines.length === said.length || undefined, 'the last line')
    await check.stop()
    t.match(lines, said)
    t.equal(asked, calls)
  })
}

type Faults = Parameters<Awaited<ReturnType<typeof startEmulator>>['emulator']['addFault']>[0]['kind'][]

async function listening (t: Test, { faults = [], ...options }: Parameters<typeof startService>[1] & { faults?: Faults } = {}) {
  const { app, emulator, logLines } = await startService(t, options)
  for (const kind of faults) emulator.addFault({ call: 'account', kind })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const lines = () => logLines.map((line): Line => JSON.parse(line))
  const lineWith = (message: string) => until(() => lines().find(({ msg }) => String(msg).startsWith(message)), message)
  return { app, emulator, lines, lineWith }
}
