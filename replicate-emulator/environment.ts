import type { EmulatorOptions } from './app.ts'
import { maxSkewMs } from './skewed-clock.ts'

export interface ServerOptions {
  port: number
  host: string
  emulator: EmulatorOptions
}

type Environment = Readonly<Record<string, string | undefined>>

const prefix = 'EMULATOR_'

/** Reads the EMULATOR_ variables. Throws one Error that names every wrong one. */
export function readEnvironment (environment: Environment): ServerOptions {
  const faults: string[] = []
  const read = <T>(name: string, parse: (text: string) => T | undefined, expected: string): T | undefined => {
    const text = environment[prefix + name]
    if (text === undefined || text === '') return undefined
    const value = parse(text)
    if (value === undefined) faults.push(`${prefix}${name} must be ${expected}, not ${JSON.stringify(text)}`)
    return value
  }
  const milliseconds = (name: string) => read(name, wholeNumber(0, 86_400_000), 'a number of milliseconds')
  const flag = (name: string) => read(name, onOrOff, 'on or off')
  const settings = {
    generationMs: milliseconds('GENERATION_MS'),
    startingMs: milliseconds('STARTING_MS'),
    latencyMs: milliseconds('LATENCY_MS'),
    rateLimits: flag('RATE_LIMITS'),
    allowHttpWebhooks: flag('ALLOW_HTTP_WEBHOOKS'),
    listShowsWebhook: flag('LIST_SHOWS_WEBHOOK'),
    listShowsInput: flag('LIST_SHOWS_INPUT'),
    listLagMs: milliseconds('LIST_LAG_MS'),
    keptMs: milliseconds('KEPT_MS'),
    fileRanges: flag('FILE_RANGES'),
    sampleVideos: flag('SAMPLE_VIDEOS'),
    clockSkewMs: read('CLOCK_SKEW_MS', wholeNumber(-maxSkewMs, maxSkewMs), 'a number of milliseconds, negative for a clock that is behind'),
    token: read('TOKEN', (text) => text, 'a token'),
    webhookSecret: read('WEBHOOK_SECRET', webhookSecret, 'whsec_ and 24 to 64 bytes in base64'),
    seed: read('SEED', wholeNumber(0, 2 ** 32 - 1), 'a whole number below 2^32'),
    logger: flag('LOG')
  }
  const port = read('PORT', wholeNumber(0, 65_535), 'a port number') ?? 3001
  const host = environment.EMULATOR_HOST || '127.0.0.1'
  faults.push(...unknownNames(environment).map((name) => `${name} is not a setting of the emulator`))
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return { port, host, emulator: withoutUndefined(settings) }
}

const names = ['PORT', 'HOST', 'GENERATION_MS', 'STARTING_MS', 'LATENCY_MS', 'RATE_LIMITS', 'ALLOW_HTTP_WEBHOOKS', 'LIST_SHOWS_WEBHOOK',
  'LIST_SHOWS_INPUT', 'LIST_LAG_MS', 'KEPT_MS', 'FILE_RANGES', 'SAMPLE_VIDEOS', 'CLOCK_SKEW_MS', 'TOKEN', 'WEBHOOK_SECRET', 'SEED', 'LOG']

function unknownNames (environment: Environment): string[] {
  return Object.keys(environment).filter((name) => name.startsWith(prefix) && !names.includes(name.slice(prefix.length)))
}

type Present<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> }

/** Without the members that have no value, so that the defaults hold. */
function withoutUndefined<T extends object> (settings: T): Present<T> {
  // Object.fromEntries forgets the types of the members that it keeps.
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as Present<T>
}

function wholeNumber (minimum: number, maximum: number): (text: string) => number | undefined {
  return (text) => {
    const value = /^-?\d{1,12}$/.test(text) ? Number(text) : NaN
    return value >= minimum && value <= maximum ? value : undefined
  }
}

function onOrOff (text: string): boolean | undefined {
  return text === 'on' ? true : text === 'off' ? false : undefined
}

function webhookSecret (text: string): string | undefined {
  const bytes = Buffer.from(text.replace(/^whsec_/, ''), 'base64').length
  return text.startsWith('whsec_') && bytes >= 24 && bytes <= 64 ? text : undefined
}
