import { Type, type Static } from '@sinclair/typebox'
import { Value, type ValueError } from '@sinclair/typebox/value'
import { isApiKey } from './api-key.ts'

/** The name of the entry for requests without a key. It has no hash. */
export const anonymousName = 'anonymous'

/** Shorter than a hash in hexadecimal digits, so that a misplaced hash is no name. */
const namePattern = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'
const maxCount = 1_000_000_000

const count = (title: string) => Type.Optional(Type.Integer({ minimum: 1, maximum: maxCount, title }))

/** An entry as operators write it. `title` completes the sentence “NAME must be …”. */
const KeyEntrySchema = Type.Object({
  name: Type.String({ pattern: namePattern, title: '1 to 63 letters, digits, dots, hyphens and underscores, a letter or a digit first' }),
  sha256: Type.Optional(Type.String({ pattern: '^[0-9A-Fa-f]{64}$', title: 'the SHA-256 of the key, 64 hexadecimal digits' })),
  creates_per_minute: count('a whole number from 1'),
  creates_per_minute_per_address: count('a whole number from 1'),
  open_tasks: count('a whole number from 1'),
  monthly_budget: Type.Optional(Type.Number({ minimum: 0, maximum: maxCount, title: 'a number from 0' })),
  expires: Type.Optional(Type.String({
    pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d{1,9})?(Z|[+-]\\d\\d:\\d\\d)$', title: 'a time with its time zone, such as 2027-01-31T00:00:00Z'
  })),
  admin: Type.Optional(Type.Boolean({ title: 'true or false' }))
}, { additionalProperties: false })
type WrittenEntry = Static<typeof KeyEntrySchema>

/** What an operator allows the callers with one name. Null: no limit of its own. */
export interface KeyLimits {
  readonly createsPerMinute: number | null
  /** for each address of callers without a key */
  readonly createsPerMinutePerAddress: number | null
  readonly openTasks: number | null
  readonly monthlyBudget: number | null
}

/** An API key, or what requests without a key may do. */
export interface KeyEntry {
  /** Tasks belong to this name. Two entries can have the same one while a new key replaces an old one. */
  readonly name: string
  /** of the key, 32 bytes; null in the entry for requests without a key */
  readonly sha256: Buffer | null
  /** ms since the epoch; null if it does not expire */
  readonly expiresAt: number | null
  /** whether the tasks of all keys can be seen and changed with it */
  readonly isAdmin: boolean
  readonly limits: KeyLimits
}

/** Either the entries, or every fault: a sentence that names the entry and the member, without any value that may be secret. */
export type ParsedKeyEntries = { ok: true, entries: KeyEntry[] } | { ok: false, faults: string[] }

/**
 * Parses the entries of API keys.
 * @param text a JSON list of objects
 */
export function parseKeyEntries (text: string): ParsedKeyEntries {
  const parsed = parseJson(text)
  if (!parsed.ok) return { ok: false, faults: [parsed.fault] }
  if (!Array.isArray(parsed.value)) return { ok: false, faults: ['It must be a JSON list of entries'] }
  const written: unknown[] = parsed.value
  const faults = written.flatMap((entry, index) => findFaults(entry).map((fault) => `${describeEntry(entry, index)}: ${fault}`))
  if (faults.length > 0) return { ok: false, faults }
  // The boundary where the entries become typed: the schema has found no fault.
  const valid = written as WrittenEntry[]
  const conflicts = findConflicts(valid)
  return conflicts.length > 0 ? { ok: false, faults: conflicts } : { ok: true, entries: valid.map(toKeyEntry) }
}

/** The message of `JSON.parse` contains a part of the text, and with it perhaps a key. Only the place of the fault is taken from it. */
function parseJson (text: string): { ok: true, value: unknown } | { ok: false, fault: string } {
  try {
    // Some editors begin a file with a byte order mark.
    return { ok: true, value: JSON.parse(text.replace(/^\uFEFF/, '')) }
  } catch (error) {
    const position = error instanceof Error ? /at position (\d+)/.exec(error.message)?.[1] : undefined
    const line = position === undefined ? '' : `, see line ${text.slice(0, Number(position)).split('\n').length}`
    return { ok: false, fault: `It is not valid JSON${line}` }
  }
}

function describeEntry (entry: unknown, index: number): string {
  const name: unknown = Object(entry).name
  const isPrintable = typeof name === 'string' && new RegExp(namePattern).test(name) && !isApiKey(name)
  return isPrintable ? `entry ${index + 1} (${name})` : `entry ${index + 1}`
}

function findFaults (entry: unknown): string[] {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return ['it must be an object']
  const faults = new Set(Array.from(Value.Errors(KeyEntrySchema, entry), describeFault))
  return faults.size > 0 ? [...faults] : findRuleFaults(entry as WrittenEntry)
}

function describeFault ({ path, schema: { title } }: ValueError): string {
  const member = path.slice(1)
  if (Object.hasOwn(KeyEntrySchema.properties, member)) return `${member} must be ${title}`
  // A key that stands in the place of a name is longer.
  return /^[a-z_]{1,30}$/i.test(member) ? `${member} is no member of an entry` : 'it has an unknown member'
}

/** The rules that a schema cannot express. */
function findRuleFaults ({ name, sha256, expires, admin, creates_per_minute_per_address: perAddress }: WrittenEntry): string[] {
  const faults: string[] = []
  if (isApiKey(name)) faults.push('name must not be a key')
  if (name === anonymousName) {
    if (sha256 !== undefined) faults.push('sha256 must be left out: this entry is for requests without a key')
    if (admin === true) faults.push('admin must not be true: this entry is for requests without a key')
  } else {
    if (sha256 === undefined) faults.push('sha256 is missing')
    if (perAddress !== undefined) faults.push(`creates_per_minute_per_address can be set only in the entry ${anonymousName}`)
  }
  if (expires !== undefined && !isTime(expires)) faults.push('expires must be a time that exists')
  return faults
}

/** `Date` accepts 31 February as 3 March. */
function isTime (text: string): boolean {
  const date = text.slice(0, 10)
  return !Number.isNaN(Date.parse(text)) && new Date(`${date}T00:00:00Z`).toISOString().startsWith(date)
}

/** Entries with one name are the keys of one caller, so they have the same rights. No two have the same key. */
function findConflicts (entries: WrittenEntry[]): string[] {
  return entries.flatMap((entry, index) => {
    const earlier = entries.slice(0, index)
    const label = describeEntry(entry, index)
    const twin = earlier.findIndex(({ sha256 }) => sha256 !== undefined && sha256.toLowerCase() === entry.sha256?.toLowerCase())
    const faults = twin === -1 ? [] : [`${label}: sha256 is the same as in entry ${twin + 1}`]
    const namesake = earlier.find(({ name }) => name === entry.name)
    if (namesake === undefined) return faults
    if (entry.name === anonymousName) return [...faults, `${label}: there can be only one entry with this name`]
    const different = sharedMembers.filter((member) => namesake[member] !== entry[member])
    return [...faults, ...different.map((member) => `${label}: ${member} must be the same in all entries with this name`)]
  })
}

const sharedMembers = ['creates_per_minute', 'open_tasks', 'monthly_budget', 'admin'] as const

function toKeyEntry (entry: WrittenEntry): KeyEntry {
  return {
    name: entry.name,
    sha256: entry.sha256 === undefined ? null : Buffer.from(entry.sha256, 'hex'),
    expiresAt: entry.expires === undefined ? null : Date.parse(entry.expires),
    isAdmin: entry.admin === true,
    limits: {
      createsPerMinute: entry.creates_per_minute ?? null,
      createsPerMinutePerAddress: entry.creates_per_minute_per_address ?? null,
      openTasks: entry.open_tasks ?? null,
      monthlyBudget: entry.monthly_budget ?? null
    }
  }
}
