import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { envSchema } from 'env-schema'
import querystring from 'node:querystring'
import { parseKeyEntries } from './services/access/key-entries.ts'
import { parseAllowedOrigins, type AllowedOrigins } from './services/http/allowed-origins.ts'
import { parseTrustedProxies, TrustedProxies } from './services/http/trusted-proxies.ts'
import { describeFault, type SchemaFault } from './services/http/validation-fault.ts'
import { isLoopback } from './services/net/ip-address.ts'
import { isWebhookSecret } from './services/net/webhook-secret.ts'
import { parseModel } from './services/replicate/models.ts'
import { StartError } from './services/runtime/start-error.ts'
import { describeUnknownSettings } from './services/runtime/unknown-settings.ts'

const model = (description: string) => Type.Optional(Type.String({
  description: `${description}: \`owner/name\` or \`owner/name:version\``,
  examples: ['luma/ray']
}))

/** Every setting with its description. The table in `docs/configuration.md` and `.env.example` are generated from this. */
export const ConfigSchema = Type.Object({
  REPLICATE_API_TOKEN: Type.String({
    pattern: '^[!-~]+$',
    title: 'ASCII characters without spaces',
    description: 'The token of your Replicate account, from its page “API tokens”. Required'
  }),
  REPLICATE_API_URL: Type.String({
    default: 'https://api.replicate.com/v1',
    pattern: '^https?://[^\\s?#]+$',
    title: 'an http or https address without a query',
    description: 'The base address of Replicate’s API, including its version. The address of an emulator replaces it'
  }),
  REPLICATE_MODEL: Type.String({
    default: 'luma/ray',
    description: 'The model for all styles: `owner/name` or `owner/name:version`'
  }),
  REPLICATE_MODEL_REALISTIC: model('Another model for the style Realistic'),
  REPLICATE_MODEL_ANIMATED: model('Another model for the style Animated'),
  REPLICATE_MODEL_CURSED: model('Another model for the style Cursed'),
  REPLICATE_CREATE_TIMEOUT_MS: Type.Integer({
    default: 15_000,
    minimum: 100,
    maximum: 20_000,
    description: 'Milliseconds to wait for the answer when a prediction is created. If there is none, the prediction is searched for'
  }),
  REPLICATE_LIST_LAG_MS: Type.Integer({
    default: 20_000,
    minimum: 0,
    maximum: 300_000,
    description: 'Milliseconds for which a new prediction may be missing from Replicate’s list. If the answer to a create was lost, the task is not submitted again before this time has passed, unless the list shows later predictions'
  }),
  REPLICATE_CREATES_PER_MINUTE: Type.Integer({
    default: 570,
    minimum: 1,
    maximum: 1_000_000,
    description: 'The maximum number of predictions created in a minute. Replicate allows 600; its answers can lower this limit'
  }),
  REPLICATE_READS_PER_MINUTE: Type.Integer({
    default: 2400,
    minimum: 1,
    maximum: 1_000_000,
    description: 'The maximum number of other calls in a minute. Replicate allows 3,000; its answers can lower this limit'
  }),
  REPLICATE_POLL_INTERVAL_MS: Type.Integer({
    default: 5000,
    minimum: 10,
    maximum: 600_000,
    description: 'Milliseconds between two reads of a running prediction, longer if many are in flight'
  }),
  REPLICATE_SWEEP_THRESHOLD: Type.Integer({
    default: 100,
    minimum: 1,
    maximum: 1_000_000,
    description: 'The number of predictions in flight from which pages of Replicate’s list are read instead of single predictions'
  }),
  REPLICATE_WEBHOOKS: Type.Unsafe<'auto' | 'on' | 'off'>({
    type: 'string',
    enum: ['auto', 'on', 'off'],
    default: 'auto',
    description: 'Whether Replicate reports the end of each prediction to `PUBLIC_URL`. `auto`: if that is an https address'
  }),
  REPLICATE_WEBHOOK_SECRET: Type.Optional(Type.String({
    description: 'The secret with which Replicate signs its webhooks. If it is not set, Replicate’s API is asked for it'
  })),
  CALLBACK_SECRET: Type.Optional(Type.String({
    description: 'The secret with which the service signs its messages to a `callback_url`: `whsec_` and 24 to 64 bytes in base64. Several, separated by spaces, while a new one replaces an old one. Without it there are no callbacks'
  })),
  ALLOW_PRIVATE_CALLBACKS: Type.Boolean({
    default: false,
    description: 'Whether a `callback_url` may use http and any port, and lead into private networks. Allow it only if every caller may reach those networks'
  }),
  PUBLIC_URL: Type.Optional(Type.String({
    pattern: '^https?://[^\\s?#]+$',
    title: 'an http or https address without a query',
    description: 'The address at which clients and Replicate reach the service',
    examples: ['https://dreams.example.com']
  })),
  ALLOWED_HOSTS: Type.Optional(Type.String({
    pattern: '^(\\*|[\\w.-]+)( *, *(\\*|[\\w.-]+))*$',
    title: 'host names without ports, with commas between them, or *',
    description: 'Further host names of the service, separated by commas, or `*` for any. The host of `PUBLIC_URL`, `localhost` and all IP addresses are always allowed. Requests without an API key are refused at other names, because these may belong to web pages that direct their readers’ browsers to the service',
    examples: ['dreams.example.com, dreamreel.internal']
  })),
  TRUST_PROXY: Type.Optional(Type.String({
    description: 'The proxies in front of the service whose `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Request-Id` are believed: IP addresses and networks, with commas between them, or the number of proxies in a row if clients can reach the service through them only. Without it the address of a client is that of its connection',
    examples: ['10.0.0.0/8, 192.0.2.7']
  })),
  MAX_CONNECTIONS_PER_ADDRESS: Type.Integer({
    default: 256,
    minimum: 0,
    maximum: 1_000_000,
    description: 'The maximum number of open connections of an address, or of a /64 with IPv6; further ones are closed at once. The proxies of `TRUST_PROXY` and the machine itself are not limited. 0: any number'
  }),
  CORS_ORIGINS: Type.Optional(Type.String({
    description: 'The origins whose web pages may use the service from a browser, separated by commas: scheme, host, and port if it is not the usual one. `*` allows pages of any origin that send an API key. Without it only pages of the service’s own origin can use it',
    examples: ['https://studio.example.com, http://localhost:5173']
  })),
  API_KEYS_FILE: Type.Optional(Type.String({
    minLength: 1,
    description: 'The file of the API keys: a JSON list of entries, see docs/configuration.md. It is read again when it changes. Without keys, everyone who reaches the service can use it',
    examples: ['/etc/dreamreel/keys.json']
  })),
  API_KEYS: Type.Optional(Type.String({ description: 'The list of the API keys itself, as JSON, if it is not in a file' })),
  ALLOW_ANONYMOUS: Type.Boolean({
    default: false,
    description: 'Whether the service starts without API keys on a `HOST` that is not a loopback address. Allow it only if everyone who reaches that address may create videos at your expense'
  }),
  HOST: Type.String({
    default: '127.0.0.1',
    description: 'The address on which the service listens. The container sets 0.0.0.0'
  }),
  PORT: Type.Integer({ default: 3000, minimum: 0, maximum: 65_535, description: 'The port on which the service listens; 0 takes a free one' }),
  STUDIO: Type.Unsafe<'on' | 'off'>({
    type: 'string',
    enum: ['on', 'off'],
    default: 'on',
    description: 'Whether the service has its web page, the studio, at `/`. It makes videos through the same API as other clients, with an API key where one is needed'
  }),
  METRICS_PORT: Type.Optional(Type.Integer({
    minimum: 0,
    maximum: 65_535,
    description: 'A second port of `HOST`, on which `GET /metrics` serves metrics to Prometheus; 0 takes a free one. Without it there are no metrics. The port has no access control: only your monitoring should reach it',
    examples: [9464]
  })),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(Type.String({
    pattern: '^https?://[^\\s?#]+$',
    title: 'an http or https address without a query',
    description: 'The base address of a receiver of OpenTelemetry’s protocol over HTTP, to which each task is sent as one trace. Without it nothing is traced',
    examples: ['http://127.0.0.1:4318']
  })),
  OTEL_EXPORTER_OTLP_HEADERS: Type.Optional(Type.String({
    pattern: '^[!#$%&\'*+.^_`|~\\w-]+=[^,]*(,[!#$%&\'*+.^_`|~\\w-]+=[^,]*)*$',
    title: 'name=value pairs with commas between them, the values percent-encoded',
    description: 'Headers for that receiver, such as `authorization=Bearer%20…`'
  })),
  DATABASE_URL: Type.Optional(Type.String({
    // The host is logged, so no other part may be mistaken for it: an unencoded password can contain any character.
    pattern: '^postgres(ql)?://[^\\s/?#]*(/[^\\s@?#]*)?(\\?[^\\s@#]*)?$',
    title: 'an address like postgres://user:password@host:5432/name, with special characters of the password percent-encoded',
    description: 'The PostgreSQL (13 or newer) that all instances share. Without it, tasks are stored in `DATA_DIR`, for one instance',
    examples: ['postgres://dreamreel@db.example.com/dreamreel']
  })),
  DATA_DIR: Type.String({
    default: './data',
    minLength: 1,
    description: 'The folder of the task database if `DATABASE_URL` is not set. Only one process at a time can use it'
  }),
  S3_BUCKET: Type.Optional(Type.String({
    pattern: '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$',
    title: 'the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens',
    description: 'The bucket in which videos are stored, of Amazon S3 or of a server that speaks its protocol. Without it, they are stored in the folder `videos` of `DATA_DIR`, which all instances then have to share',
    examples: ['dreamreel-videos']
  })),
  S3_PREFIX: Type.String({
    default: '',
    pattern: '^([\\w.-]+/)*$',
    title: 'folder names, each with a slash after it',
    description: 'What the names of all objects begin with, if the bucket has other objects too, such as `dreamreel/`'
  }),
  S3_ENDPOINT: Type.Optional(Type.String({
    pattern: '^https?://[^\\s?#]+$',
    title: 'an http or https address without a query',
    description: 'The address of an S3 server other than Amazon’s',
    examples: ['https://s3.example.com']
  })),
  S3_REGION: Type.String({ default: 'us-east-1', minLength: 1, description: 'The region of the bucket' }),
  S3_ACCESS_KEY_ID: Type.Optional(Type.String({
    description: 'The key for the bucket. Without it, credentials are found as all programs for AWS find them: environment, files, role of the machine'
  })),
  S3_SECRET_ACCESS_KEY: Type.Optional(Type.String({ description: 'The secret of `S3_ACCESS_KEY_ID`' })),
  VIDEO_DELIVERY: Type.Unsafe<'proxy' | 'redirect'>({
    type: 'string',
    enum: ['proxy', 'redirect'],
    default: 'proxy',
    description: 'How stored videos reach clients: `proxy` passes them through the service, `redirect` answers with an address of the bucket that is valid for a short time'
  }),
  MAX_VIDEO_BYTES: Type.Integer({
    default: 500_000_000,
    minimum: 1_000,
    maximum: 50_000_000_000,
    description: 'The maximum size of a video. A task with a larger one fails'
  }),
  VIDEO_COPIES_AT_ONCE: Type.Integer({
    default: 8,
    minimum: 1,
    maximum: 1_000,
    description: 'The maximum number of videos that this instance copies from Replicate at a time; the others wait'
  }),
  FFMPEG_PATH: Type.Optional(Type.String({
    minLength: 1,
    description: 'The ffmpeg that makes a poster of a video of up to 50 MB whose model gives none. If it is not set, an `ffmpeg` in a standard folder such as `/usr/bin` is used where there is one; `off` makes no such posters',
    examples: ['/opt/ffmpeg/bin/ffmpeg']
  })),
  RETENTION_DAYS: Type.Number({
    default: 30,
    minimum: 0,
    maximum: 36_500,
    description: 'Days after its end for which a task is kept, with its video; 0 keeps tasks for ever. A task with a `callback_url` is kept for a day at least'
  }),
  VIDEO_ORPHAN_AGE_MINUTES: Type.Integer({
    default: 1440,
    minimum: 0,
    maximum: 525_600,
    description: 'Minutes for which a stored file that no task names is kept. Such files are left behind by crashes. With less than a few minutes, a poster can be removed that was just made'
  }),
  CREATES_PER_MINUTE: Type.Integer({
    default: 60,
    minimum: 0,
    maximum: 1_000_000,
    description: 'The maximum number of videos that an API key without a limit of its own may create in a minute and, without a key, an address; 0 for no limit'
  }),
  READS_PER_MINUTE: Type.Integer({
    default: 6000,
    minimum: 0,
    maximum: 1_000_000,
    description: 'The maximum number of all other requests about tasks in a minute, for each API key and, without a key, each address; 0 for no limit'
  }),
  MAX_OPEN_TASKS: Type.Integer({
    default: 10_000,
    minimum: 0,
    maximum: 10_000_000,
    description: 'The maximum number of tasks of all API keys and instances that have not ended. Another one is refused with 503 until one of them ends; 0 for no limit. All instances need the same value'
  }),
  MAX_EVENT_LOOP_DELAY_MS: Type.Integer({
    default: 1000,
    minimum: 0,
    maximum: 60_000,
    description: 'Milliseconds by which the work of this instance may be late, the average of a second, before it refuses requests other than health checks with 503; 0 for no limit'
  }),
  MAX_IN_FLIGHT: Type.Integer({
    default: 1000,
    minimum: 1,
    maximum: 100_000,
    description: 'The maximum number of tasks that this instance works on at a time; the others wait in the database'
  }),
  TASK_DEADLINE_SECONDS: Type.Integer({
    default: 840,
    minimum: 6,
    maximum: 86_400,
    description: 'Seconds after which a task ends, with or without a video. The original app stops waiting after 900'
  }),
  SHUTDOWN_DELAY_SECONDS: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 300,
    description: 'Seconds between the stop signal, when `/readyz` starts to answer 503, and the moment when the server closes'
  }),
  LOG_LEVEL: Type.Unsafe<'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'>({
    type: 'string',
    enum: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    default: 'info',
    description: 'The lowest level of the log lines that are written'
  })
})

/** A shorter value of a header is a number or a name rather than a key, and would be removed from the middle of words. */
const minSecretLength = 8

type GivenValues = Record<string, string>
const propertySchemas: Record<string, TSchema> = ConfigSchema.properties

export type Config = Readonly<Static<typeof ConfigSchema>>

/** The configuration is not valid. The message lists every fault, one in each line. */
export class ConfigError extends StartError {
  override name = 'ConfigError'

  constructor (faults: string[]) {
    super(['The configuration cannot be used:', ...faults.map((fault) => `  - ${fault}`)].join('\n'))
  }
}

/**
 * Describes each variable that is probably meant as a setting but is none, in a sentence.
 * @param environment names and values, as in `process.env`
 */
export function describeMisspelt (environment: Record<string, string | undefined>): string[] {
  return describeUnknownSettings(Object.keys(environment).filter((name) => environment[name]), Object.keys(propertySchemas))
}

/**
 * Reads the configuration, once. An empty value counts as none.
 * @param environment names and values, as in `process.env`
 * @throws ConfigError
 */
export function readConfig (environment: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(Object.entries(environment).filter((entry): entry is [string, string] => Boolean(entry[1])))
  const { config, faults } = validate(given)
  faults.push(...findPortFaults(given), ...findModelFaults(given), ...findAddressFaults(given), ...findProxyFaults(given), ...findOriginFaults(given), ...findWebhookFaults(given), ...findStorageFaults(given), ...findKeyFaults(given))
  if (config === undefined || faults.length > 0) throw new ConfigError([...faults, ...describeMisspelt(given)])
  return Object.freeze({
    ...config,
    REPLICATE_API_URL: trimSlashes(config.REPLICATE_API_URL),
    ...(config.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined && { OTEL_EXPORTER_OTLP_ENDPOINT: trimSlashes(config.OTEL_EXPORTER_OTLP_ENDPOINT) }),
    ...(config.PUBLIC_URL !== undefined && { PUBLIC_URL: trimSlashes(config.PUBLIC_URL) })
  })
}

/**
 * Collects the values that no log line and no message may contain. A password is returned as it is in the address, and decoded.
 * @param environment names and values, valid or not
 */
export function collectSecrets (environment: Partial<Record<string, unknown>>): string[] {
  const { REPLICATE_API_TOKEN: token, REPLICATE_WEBHOOK_SECRET: webhook, CALLBACK_SECRET: own, DATABASE_URL: database, S3_SECRET_ACCESS_KEY: s3Secret, API_KEYS: keys } = environment
  const given = [token, webhook, s3Secret, ...Object.values(parseOtlpHeaders(environment)).filter(({ length }) => length >= minSecretLength), ...String(own ?? '').split(' '), ...extractPasswords(String(database ?? '')), ...extractHashes(String(keys ?? ''))]
  return given.filter((value): value is string => typeof value === 'string' && value !== '')
}

/** `URL` is not used, because an address that it cannot parse may also contain a password. */
function extractPasswords (address: string): string[] {
  const password = /^[^:]*:\/\/[^:@/]*:(.*)@/.exec(address)?.[1]
  return password === undefined ? [] : Array.from(new Set([password, querystring.unescape(password)]))
}

/** Anyone who has the hash of a key can test guesses of the key, so it is treated as a secret. */
function extractHashes (keys: string): string[] {
  return keys.match(/\b[0-9a-f]{64}\b/gi) ?? []
}

/** The headers for the receiver of traces, by their names. */
export function parseOtlpHeaders ({ OTEL_EXPORTER_OTLP_HEADERS: text = '' }: Partial<Record<string, unknown>>): Record<string, string> {
  const pairs = String(text).split(',').filter((pair) => pair.includes('='))
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), querystring.unescape(pair.slice(pair.indexOf('=') + 1))]))
}

/** The bucket for videos, as the archive takes it; undefined where videos are stored in a folder. */
export function s3Options (config: Config) {
  const { S3_BUCKET: bucket, S3_PREFIX: prefix, S3_ENDPOINT: endpoint, S3_REGION: region, S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey } = config
  if (bucket === undefined) return undefined
  const credentials = accessKeyId === undefined || secretAccessKey === undefined ? undefined : { accessKeyId, secretAccessKey }
  return { bucket, prefix, endpoint, region, credentials }
}

/** The origins whose web pages may use the service; undefined if it is only its own. */
export function allowedOrigins ({ CORS_ORIGINS: text }: Config): AllowedOrigins | undefined {
  const parsed = text === undefined ? undefined : parseAllowedOrigins(text)
  return parsed?.ok === true ? parsed.origins : undefined
}

/** The proxies whose statements about a request are believed. */
export function trustedProxies ({ TRUST_PROXY: text }: Config): TrustedProxies {
  const parsed = text === undefined ? undefined : parseTrustedProxies(text)
  return parsed?.ok === true ? parsed.proxies : TrustedProxies.none
}

/** Where browsers find videos and posters besides the origin of a page, as sources of a Content-Security-Policy. */
export function fileSources ({ PUBLIC_URL: publicUrl, VIDEO_DELIVERY: delivery, S3_ENDPOINT: endpoint }: Config): string[] {
  const bucket = endpoint === undefined ? 'https:' : new URL(endpoint).origin
  return [...(publicUrl === undefined ? [] : [new URL(publicUrl).origin]), ...(delivery === 'redirect' ? [bucket] : [])]
}

function trimSlashes (address: string): string {
  return address.replace(/\/+$/, '')
}

function validate (given: GivenValues): { config?: Config, faults: string[] } {
  try {
    return { config: envSchema<Config>({ schema: ConfigSchema, data: given, env: false }), faults: [] }
  } catch (error) {
    if (!(error instanceof Error && 'errors' in error && Array.isArray(error.errors))) throw error
    return { faults: error.errors.map(describeSchemaFault) }
  }
}

function describeSchemaFault (fault: SchemaFault): string {
  const { loc, msg } = describeFault('environment', fault)
  const name = loc.slice(1).join('.')
  return `${name} ${fault.keyword === 'pattern' ? `must be ${propertySchemas[name]?.title}` : msg}`
}

function findPortFaults ({ PORT: port = String(ConfigSchema.properties.PORT.default), METRICS_PORT: metricsPort }: GivenValues): string[] {
  const isSame = metricsPort !== undefined && Number(metricsPort) === Number(port) && Number(port) !== 0
  return isSame ? ['METRICS_PORT must be another port than PORT'] : []
}

function findModelFaults (given: GivenValues): string[] {
  return Object.entries(given)
    .filter(([name]) => name.startsWith('REPLICATE_MODEL') && name in propertySchemas)
    .map(([name, value]) => ({ name, parsed: parseModel(value) }))
    .flatMap(({ name, parsed }) => parsed.ok ? [] : [`${name} ${parsed.fault}`])
}

function findAddressFaults (given: GivenValues): string[] {
  return ['REPLICATE_API_URL', 'PUBLIC_URL', 'S3_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT']
    .filter((name) => given[name] !== undefined && !URL.canParse(given[name]))
    .map((name) => `${name} must be an http or https address`)
}

function findProxyFaults ({ TRUST_PROXY: proxies }: GivenValues): string[] {
  const parsed = proxies === undefined ? undefined : parseTrustedProxies(proxies)
  return parsed?.ok === false ? [`TRUST_PROXY ${parsed.fault}`] : []
}

function findOriginFaults ({ CORS_ORIGINS: origins, API_KEYS: keys, API_KEYS_FILE: file }: GivenValues): string[] {
  const parsed = origins === undefined ? undefined : parseAllowedOrigins(origins)
  if (parsed?.ok === false) return parsed.faults.map((fault) => `CORS_ORIGINS ${fault}`)
  const isOpen = keys === undefined && file === undefined
  return parsed?.origins === 'any' && isOpen ? ['CORS_ORIGINS can be * only with API keys: without them every web page could create videos at your expense'] : []
}

function findWebhookFaults ({ REPLICATE_WEBHOOKS: webhooks, REPLICATE_WEBHOOK_SECRET: secret, CALLBACK_SECRET: own, PUBLIC_URL: publicUrl }: GivenValues): string[] {
  const faults: string[] = []
  if (webhooks === 'on' && publicUrl === undefined) faults.push('REPLICATE_WEBHOOKS can be on only with a PUBLIC_URL')
  if (own !== undefined && !own.split(' ').every(isWebhookSecret)) {
    faults.push('CALLBACK_SECRET must be whsec_ and 24 to 64 bytes in base64, or several of these with single spaces between them')
  }
  if (secret !== undefined && !isWebhookSecret(secret)) faults.push('REPLICATE_WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64')
  return faults
}

function findKeyFaults ({ API_KEYS: keys, API_KEYS_FILE: file, HOST: host, ALLOW_ANONYMOUS: allowAnonymous }: GivenValues): string[] {
  const parsed = keys === undefined ? undefined : parseKeyEntries(keys)
  const faults = parsed?.ok === false ? parsed.faults.map((fault) => `API_KEYS: ${fault}`) : []
  if (keys !== undefined && file !== undefined) faults.push('API_KEYS and API_KEYS_FILE cannot be set together')
  if (keys === undefined && file === undefined && host !== undefined && !isLoopback(host) && allowAnonymous !== 'true') {
    faults.push('HOST can be reached from other machines, whose users could create videos at your expense: set API_KEYS_FILE or API_KEYS, or ALLOW_ANONYMOUS=true if that is what you want')
  }
  return faults
}

function findStorageFaults ({ S3_BUCKET: bucket, S3_ACCESS_KEY_ID: id, S3_SECRET_ACCESS_KEY: secret, VIDEO_DELIVERY: delivery, ...given }: GivenValues): string[] {
  const faults: string[] = []
  if ((id === undefined) !== (secret === undefined)) faults.push('S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY must be set together')
  if (bucket !== undefined) return faults
  if (delivery === 'redirect') faults.push('VIDEO_DELIVERY can be redirect only with an S3_BUCKET')
  const useless = ['S3_ENDPOINT', 'S3_PREFIX'].filter((name) => given[name] !== undefined)
  return [...faults, ...useless.map((name) => `${name} can be set only with an S3_BUCKET`)]
}
