import { readFile } from 'node:fs/promises'
import t from 'tap'
import { ConfigError, readConfig } from '../../config.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import { formatEnvExample, replaceConfigurationTable } from '../../scripts/config-documents.ts'
import { buildOpenApiDocument } from '../../scripts/openapi-document.ts'
import { startService } from '../support/service.ts'

const committed = (name: string) => readFile(new URL(`../../${name}`, import.meta.url), 'utf8')

t.test('openapi.json is what the service serves', async (t) => {
  t.same(JSON.parse(await committed('openapi.json')), JSON.parse(await buildOpenApiDocument()), 'run `npm run docs`')
  const { app } = await startService(t)
  t.same((await app.inject('/openapi.json')).json(), JSON.parse(await committed('openapi.json')))
})

t.test('.env.example is generated from the settings', async (t) => {
  t.equal(await committed('.env.example'), formatEnvExample(), 'run `npm run docs`')
})

t.test('the table of settings in docs/configuration.md is generated from them', async (t) => {
  const document = await committed('docs/configuration.md')
  t.equal(document, replaceConfigurationTable(document), 'run `npm run docs`')
})

t.test('all faults of the configuration are reported at once, without the token', async (t) => {
  const environment = {
    REPLICATE_API_TOKEN: 'a token with spaces', REPLICATE_API_URL: 'ftp://x', PORT: '65536', MAX_IN_FLIGHT: 'many', LOG_LEVEL: 'loud', REPLICATE_MODEL_CURSED: 'luma'
  }
  const thrown = t.throws(() => readConfig(environment)) as ConfigError
  t.type(thrown, ConfigError)
  for (const name of Object.keys(environment)) t.match(thrown.message, new RegExp(`- ${name} must be `), name)
  t.notMatch(thrown.message, 'a token with spaces')
})

t.test('an invalid secret ends the start, and several valid ones are accepted', async (t) => {
  const read = (secret: string) => readConfig({ REPLICATE_API_TOKEN: 'x', CALLBACK_SECRET: secret })
  for (const secret of ['a secret', 'whsec_a=', 'whsec_c2hvcnQ=', `${newWebhookSecret()},${newWebhookSecret()}`, `${newWebhookSecret()}  ${newWebhookSecret()}`, `${newWebhookSecret()} `]) {
    const thrown = t.throws(() => read(secret), { message: /- CALLBACK_SECRET must be whsec_/ }) as ConfigError
    t.notOk(thrown.message.includes(secret))
  }
  const both = `${newWebhookSecret()} ${newWebhookSecret()}`
  t.match(read(both), { CALLBACK_SECRET: both, ALLOW_PRIVATE_CALLBACKS: false })
  t.throws(() => readConfig({ REPLICATE_API_TOKEN: 'x', ALLOW_PRIVATE_CALLBACKS: 'yes' }), { message: /ALLOW_PRIVATE_CALLBACKS must be true or false/ })
  t.match(readConfig({ REPLICATE_API_TOKEN: 'x', ALLOW_PRIVATE_CALLBACKS: 'true' }), { ALLOW_PRIVATE_CALLBACKS: true })
})

t.test('an empty value counts as none', async (t) => {
  t.match(readConfig({ REPLICATE_API_TOKEN: 'x', PORT: '', REPLICATE_MODEL_ANIMATED: '' }), { PORT: 3000 })
  t.throws(() => readConfig({ REPLICATE_API_TOKEN: '' }), { message: /REPLICATE_API_TOKEN is required/ })
})

t.test('a service that other machines can reach starts only with API keys, or if it is said to be open', async (t) => {
  const read = (env: Record<string, string>) => readConfig({ REPLICATE_API_TOKEN: 'x', ...env })
  for (const HOST of ['0.0.0.0', '::', '192.168.1.20', 'dreams.example']) {
    for (const ALLOW_ANONYMOUS of ['', 'false']) t.throws(() => read({ HOST, ALLOW_ANONYMOUS }), { message: /HOST can be reached from other machines.*ALLOW_ANONYMOUS=true/ }, HOST)
    t.match(read({ HOST, ALLOW_ANONYMOUS: 'true' }), { HOST })
    t.match(read({ HOST, API_KEYS: '[]' }), { HOST })
    t.match(read({ HOST, API_KEYS_FILE: './keys.json' }), { HOST })
  }
  for (const HOST of ['', '127.0.0.1', '127.1.2.3', '::1', 'localhost']) t.ok(read({ HOST }), HOST)
  t.throws(() => read({ API_KEYS: '[]', API_KEYS_FILE: './keys.json' }), { message: /API_KEYS and API_KEYS_FILE cannot be set together/ })
  t.throws(() => read({ API_KEYS: '[{"name":"app"}]' }), { message: /API_KEYS: entry 1 \(app\): sha256 is missing/ })
})
