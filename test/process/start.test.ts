import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { buildApp } from '../../app.ts'
import { ConfigError, describeMisspelt, readConfig } from '../../config.ts'
import { until } from '../../harness/until.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import { openTerminalOutput } from '../../services/runtime/terminal-output.ts'
import { startLine } from '../../start-line.ts'
import { runService } from '../support/running-service.ts'
import { startEmulator, testEnvironment } from '../support/service.ts'

const said = (output: string) => output.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))

t.test('each start logs one line about what runs, and one for each misspelt setting', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const service = await runService(t, { REPLICATE_API_URL: apiUrl, REPLICATE_API_TOKNE: 'a-secret-word', CALLBACK_SECRET: newWebhookSecret() })
  const url = await service.listeningUrl()
  const up = await until(() => said(service.output()).find(({ msg }) => msg === 'Dreamreel is up'), 'the line of the start')
  t.match(up, {
    level: 30,
    version: /^\d+\.\d+\.\d+/,
    node: process.version,
    store: /memory/,
    models: { Realistic: 'luma/ray', Animated: 'luma/ray', Cursed: 'luma/ray' },
    replicate: new URL(apiUrl).origin,
    webhooks: 'off: no PUBLIC_URL',
    callbacks: 'on',
    studio: `${url}/`,
    addresses: [url]
  })
  t.equal(said(service.output()).filter(({ msg }) => msg.startsWith('There are no API keys')).length, 1)
  t.match(said(service.output()).find(({ level }) => level === 40), { msg: 'A variable of the environment is probably a misspelt setting', hint: 'REPLICATE_API_TOKNE is no setting; did you mean REPLICATE_API_TOKEN?' })
  t.notMatch(service.output(), /a-secret-word|test-token|whsec_/)
})

t.test('the line of the start contains no secret, and says why a feature is off', async (t) => {
  const line = (env: Record<string, string>, areOn = false, ffmpeg = false) => startLine(readConfig({ REPLICATE_API_TOKEN: 'x', ...env }), { webhooks: areOn, ffmpeg, metrics: undefined, access: 'open' }, [{ address: '::1', family: 'IPv6', port: 3000 }, { address: '127.0.0.1', family: 'IPv4', port: 3000 }])
  t.equal(line({ DATABASE_URL: 'postgres://u:secret@db.example.com:5433/dreams' }).store, 'PostgreSQL db.example.com:5433/dreams')
  t.match(line({ DATA_DIR: './tasks' }).store, /^SQLite in \/.*\/tasks$/)
  t.equal(line({}).posters, 'of the model only: no ffmpeg')
  t.equal(line({}, false, true).posters, 'of the model, or by ffmpeg')
  t.match(line({ DATA_DIR: './tasks' }).videos, /^folder \/.*\/tasks\/videos$/)
  const bucket = { S3_BUCKET: 'dreams', S3_PREFIX: 'videos/', S3_ACCESS_KEY_ID: 'key', S3_SECRET_ACCESS_KEY: 'a-secret-word' }
  t.equal(line(bucket).videos, 'bucket dreams/videos/')
  t.notMatch(JSON.stringify(line(bucket)), /a-secret-word/)
  t.equal(line({ REPLICATE_API_URL: 'https://u:secret@proxy.example.com/v1' }).replicate, 'https://proxy.example.com')
  t.match(line({ REPLICATE_MODEL_CURSED: 'minimax/video-01' }).models, { Animated: 'luma/ray', Cursed: 'minimax/video-01' })
  t.equal(line({ REPLICATE_WEBHOOKS: 'off', PUBLIC_URL: 'https://x.example' }).webhooks, 'off: REPLICATE_WEBHOOKS')
  t.equal(line({ PUBLIC_URL: 'http://x.example' }).webhooks, 'off: PUBLIC_URL is not https')
  t.equal(line({ PUBLIC_URL: 'https://x.example' }, true).webhooks, 'on')
  t.equal(line({}).callbacks, 'off: no CALLBACK_SECRET')
  t.equal(line({}).studio, 'http://[::1]:3000/')
  t.equal(line({ PUBLIC_URL: 'https://x.example/dreams/' }).studio, 'https://x.example/dreams/')
  t.equal(line({ STUDIO: 'off' }).studio, 'off: STUDIO')
})

t.test('names that are similar to a setting or share its prefix are pointed out, and no others', async (t) => {
  const of = (...names: string[]) => describeMisspelt(Object.fromEntries(names.map((name) => [name, 'x'])))
  t.same(of('REPLICATE_API_TOKNE', 'replicate_api_token', 'TASK_DEADLINE_SECOND', 'SHUTDOWN_DELAY_SECNDS', 'REPLICATE_POLLING', 'DATABSE_URL'), [
    'REPLICATE_API_TOKNE is no setting; did you mean REPLICATE_API_TOKEN?',
    'replicate_api_token is no setting; did you mean REPLICATE_API_TOKEN?',
    'TASK_DEADLINE_SECOND is no setting; did you mean TASK_DEADLINE_SECONDS?',
    'SHUTDOWN_DELAY_SECNDS is no setting; did you mean SHUTDOWN_DELAY_SECONDS?',
    'REPLICATE_POLLING is no setting',
    'DATABSE_URL is no setting; did you mean DATABASE_URL?'
  ])
  t.same(of('PATH', 'HOME', 'POST', 'HOSTS', 'LOG_DIR', 'DATABASE_PASSWORD', 'POSTGRES_PASSWORD', 'DREAMREEL_PORT', 'DREAMREEL_SERVICE_HOST',
    'REPLICATE_SERVICE_HOST', 'REPLICATE_SERVICE_PORT_HTTP', 'REPLICATE_PORT', 'REPLICATE_PORT_80_TCP_ADDR', 'REPLICATE_API_TOKEN', 'PORT'), [])
  t.same(describeMisspelt({ REPLICATE_API_TOKNE: '' }), [])
  const fault = t.throws(() => readConfig({ REPLICATE_API_TOKNE: 'x' })) as ConfigError
  t.match(fault.message, /- REPLICATE_API_TOKEN is required\n {2}- REPLICATE_API_TOKNE is no setting; did you mean/)
})

t.test('on a terminal log lines are formatted for people, also without the dream', async (t) => {
  let written = ''
  const logStream = await openTerminalOutput({ isTTY: true, write: (text) => { written += text } })
  if (logStream === undefined) throw new Error('pino-pretty is not there')
  const app = await buildApp(readConfig(testEnvironment), { logStream })
  t.teardown(() => app.close())
  await app.inject({ method: 'POST', url: '/generate-video?dream=Ein%20Wal%20fliegt&style=Nothing' })
  app.log.warn('GET /generate-video?dream=Ein%20Wal%20fliegt failed')
  t.match(written, /INFO.*request.*"status":422/)
  t.match(written, 'GET /generate-video?… failed')
  t.notMatch(written, 'Wal')
})

t.test('an output that is not a terminal gets JSON', async (t) => {
  const output = { write: () => {} }
  t.equal(await openTerminalOutput(output), undefined)
  t.equal(await openTerminalOutput({ ...output, isTTY: false }), undefined)
})

t.test('the real service formats its log for people on a real terminal', { skip: process.platform !== 'linux' }, async (t) => {
  const { apiUrl } = await startEmulator(t)
  const command = `exec '${process.execPath}' '${fileURLToPath(new URL('../../server.ts', import.meta.url))}'`
  const child = spawn('env', ['-u', 'NODE_OPTIONS', 'script', '--quiet', '--return', '--command', command, '/dev/null'], {
    env: { PATH: process.env.PATH, ...testEnvironment, LOG_LEVEL: 'info', PORT: '0', REPLICATE_API_URL: apiUrl }, stdio: ['pipe', 'pipe', 'inherit']
  })
  const closed = once(child, 'close')
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => { output += text })
  t.teardown(async () => {
    // Ctrl-C.
    child.stdin.write('\x03')
    await closed
  })
  t.match(await until(() => /.*Dreamreel is up.*/.exec(output)?.[0], `the line of the start: ${output}`), /INFO/)
})
