import { statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { collectSecrets } from '../../config.ts'
import { until } from '../../harness/until.ts'
import { createApiKey } from '../../services/access/api-key.ts'
import { createRedactor } from '../../services/runtime/redact-secrets.ts'
import { slow } from '../support/quick.ts'
import { runService } from '../support/running-service.ts'
import { answer, startScriptedServer } from '../support/scripted-server.ts'
import { ended, postDream, startService } from '../support/service.ts'

const token = 'my"very\\own+token/of=Replicate'
const webhookSecret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
const formsOfToken = [token, JSON.stringify(token).slice(1, -1), encodeURIComponent(token)]

function checkNoSecret (t: Test, text: string): void {
  for (const form of [...formsOfToken, webhookSecret, encodeURIComponent(webhookSecret)]) t.notOk(text.includes(form), form)
}

t.test('a secret is redacted in every form, even if this process does not have it', async (t) => {
  const redact = createRedactor([token, webhookSecret])
  for (const form of formsOfToken) t.equal(redact(`Invalid token: ${form}.`), 'Invalid token: [redacted].')
  t.equal(redact(JSON.stringify({ said: token })), '{"said":"[redacted]"}')
  const [unknownToken, unknownSecret] = [`r8_${'a1'.repeat(18)}`, `whsec_${'b2'.repeat(16)}=`]
  t.equal(redact(`${unknownToken} and ${unknownSecret}`), '[redacted] and [redacted]')
  t.equal(redact(JSON.stringify({ key: createApiKey() })), '{"key":"[redacted]"}')
})

t.test('a short secret does not make ordinary words unreadable', async (t) => {
  t.equal(createRedactor(['demo'])('A demonstration'), 'A demonstration')
})

t.test('the secrets of the configuration are tokens, each webhook secret, and the password of the database', async (t) => {
  t.same(collectSecrets({
    REPLICATE_API_TOKEN: 'the-token',
    REPLICATE_WEBHOOK_SECRET: 'whsec_1',
    CALLBACK_SECRET: 'whsec_2 whsec_3',
    DATABASE_URL: 'postgres://dreamreel:p%40ssword@db.example/dreams'
  }), ['the-token', 'whsec_1', 'whsec_2', 'whsec_3', 'p%40ssword', 'p@ssword'])
  t.same(collectSecrets({ REPLICATE_API_TOKEN: undefined, DATABASE_URL: 'postgres://db.example/dreams' }), [])
  t.same(collectSecrets({ DATABASE_URL: 'postgres://user:%zz@db.example/dreams' }), ['%zz'])
})

t.test('no log line contains the token, even if Replicate repeats it in a message', async (t) => {
  const repeated = `${'x'.repeat(480)} Invalid token: ${token}`
  const server = await startScriptedServer(t, (socket) => { socket.write(answer(401, { title: 'Unauthorized', detail: repeated })) })
  const { app, logLines } = await startService(t, {
    env: {
      REPLICATE_API_URL: `${server.origin}/v1`,
      REPLICATE_API_TOKEN: token,
      PUBLIC_URL: 'https://dreams.example',
      REPLICATE_WEBHOOKS: 'on',
      CALLBACK_SECRET: webhookSecret,
      TASK_DEADLINE_SECONDS: '6'
    }
  })
  app.log.error({ err: new Error('The outer error', { cause: new Error(`Bearer ${token} and ${webhookSecret}`) }) })
  t.match(await ended(app, await postDream(app)), { status: 'failed', error_code: 'provider_account' })
  await until(() => logLines.some((line) => line.includes('xxx')) || undefined, 'a line with the message of Replicate')
  checkNoSecret(t, logLines.join(''))
  t.notMatch(logLines.join(''), token.slice(0, 12), 'nor its beginning, where the message is truncated')
})

t.test('a failed start does not print the password, and only the owner can read the files of the store', slow, async (t) => {
  const failing = await runService(t, { DATABASE_URL: 'postgres://dreamreel:a-long-password@127.0.0.1:1/dreams%zz' })
  const { code, output } = await failing.end()
  t.equal(code, 1)
  t.notMatch(output, 'a-long-password')

  const dataDir = join(t.testdir(), 'new', 'data')
  const service = await runService(t, { DATA_DIR: dataDir, REPLICATE_API_URL: 'http://127.0.0.1:1/v1' })
  await service.listeningUrl()
  const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)
  t.equal(modeOf(dataDir), '700')
  for (const file of ['dreamreel.db', 'dreamreel.db-wal']) t.equal(modeOf(join(dataDir, file)), '600', file)
})
