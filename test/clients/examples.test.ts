import { execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { freePort } from '../../harness/free-port.ts'
import { until } from '../../harness/until.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import { startService } from '../support/service.ts'
import { startFlakyProxy, type Trouble } from './flaky-proxy.ts'

const document = readFileSync(new URL('../../docs/clients.md', import.meta.url), 'utf8')

/** The examples in a language as a reader would copy them: a client, and a receiver of callbacks. */
function examplesIn (language: string): [client: string, receiver: string] {
  const [client, receiver] = Array.from(document.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g')), ([, code]) => code)
  if (client === undefined || receiver === undefined) throw new Error(`An example in ${language} is missing`)
  return [client, receiver]
}

async function run (t: Test, program: string, file: string, code: string, url: string): Promise<string> {
  const path = `${t.testdir()}/${file}`
  await writeFile(path, code)
  const { stdout } = await promisify(execFile)(program, [path], { env: { PATH: process.env.PATH, SERVICE: url, FIRST_POLL_SECONDS: '0.1', FIRST_PAUSE_SECONDS: '0.1' } })
  return stdout
}

const examples = [
  { language: 'js', program: process.execPath, file: 'example.mjs' },
  { language: 'python', program: 'python3', file: 'example.py' }
]

for (const { language, program, file } of examples) {
  t.test(`the example in ${language} creates a video, and says why if there is none`, async (t) => {
    const { app, emulator } = await startService(t, { emulator: { generationMs: 300 } })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const [client] = examplesIn(language)
    t.match(await run(t, program, file, client, url), /^completed http:.*\.mp4\n$/)
    emulator.addOutcome({ status: 'failed', error: 'E005' })
    t.match(await run(t, program, file, client, url), /^failed The provider’s content policy .*\n$/)
    t.equal(emulator.predictions.length, 2)
  })

  t.test(`the example in ${language} survives broken connections, and pays once`, async (t) => {
    const { app, emulator } = await startService(t, { emulator: { generationMs: 300 } })
    const target = await app.listen({ port: 0, host: '127.0.0.1' })
    const troubles: Trouble[] = ['reset', 'html', 'cut', 'busy', 'html-200']
    const { url, received, left } = await startFlakyProxy(t, target, { POST: troubles, GET: troubles })
    const [client] = examplesIn(language)
    t.match(await run(t, program, file, client, url), /^completed http:.*\.mp4\n$/)
    t.same(left, { POST: [], GET: [] })
    const creates = received.filter(({ method }) => method === 'POST')
    t.equal(creates.length, troubles.length + 1)
    t.match(creates[0]?.key, /^[0-9a-f-]{36}$/)
    t.equal(new Set(creates.map(({ key }) => key)).size, 1)
    t.equal(emulator.predictions.length, 1)
  })

  t.test(`the example in ${language} does not repeat a refused request`, async (t) => {
    const { url, received } = await startFlakyProxy(t, 'http://127.0.0.1:9', { POST: ['refused'] })
    await t.rejects(run(t, program, file, examplesIn(language)[0], url), { message: /not_found: Nothing here/ })
    t.equal(received.length, 1)
  })

  t.test(`the receiver in ${language} accepts what the service sends, and nothing else`, async (t) => {
    const [secret, port] = [newWebhookSecret(), await freePort()]
    const { app, emulator } = await startService(t, { env: { CALLBACK_SECRET: `${newWebhookSecret()} ${secret}`, ALLOW_PRIVATE_CALLBACKS: 'true' } })
    const path = `${t.testdir()}/${file}`
    await writeFile(path, examplesIn(language)[1])
    const child = spawn(program, [path], { env: { PATH: process.env.PATH, CALLBACK_SECRET: secret, PORT: String(port) }, stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill())
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => { output += text })
    const address = `http://127.0.0.1:${port}/`
    const forge = (headers: Record<string, string>) => fetch(address, { method: 'POST', headers, body: '{}' })
    await until(() => forge({}).then(({ status }) => status === 401 || undefined, () => undefined), 'the receiver to listen')

    const now = Math.floor(Date.now() / 1_000)
    const sign = (at: number) => ({ 'webhook-id': 'x', 'webhook-timestamp': String(at), 'webhook-signature': new Webhook(secret).sign('x', new Date(at * 1_000), '{}') })
    for (const forged of [sign(now - 400), sign(now + 400), { ...sign(now), 'webhook-id': 'y' }, { ...sign(now), 'webhook-signature': 'v1,' }, { ...sign(now), 'webhook-timestamp': 'now' }]) {
      t.equal((await forge(forged)).status, 401)
    }
    t.equal(output, '')
    for (const expected of [/^video\.completed http:.*\.mp4\n$/, /\nvideo\.failed The provider’s content policy .*\n$/]) {
      await app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed', callback_url: address } })
      await until(() => expected.test(output) || undefined, `${expected}: ${output}`)
      emulator.addOutcome({ status: 'failed', error: 'E005' })
    }
  })
}
