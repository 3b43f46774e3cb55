import t from 'tap'
import { createApiKey, hashApiKey, isApiKey } from '../../services/access/api-key.ts'
import { parseKeyEntries } from '../../services/access/key-entries.ts'
import { KeyRing } from '../../services/access/key-ring.ts'

const key = createApiKey()
const sha256 = hashApiKey(key).toString('hex')
const otherSha256 = hashApiKey(createApiKey()).toString('hex')

function entriesOf (written: unknown) {
  const parsed = parseKeyEntries(JSON.stringify(written))
  if (!parsed.ok) throw new Error(parsed.faults.join('\n'))
  return parsed.entries
}

function faultsOf (text: string): string[] {
  const parsed = parseKeyEntries(text)
  return parsed.ok ? [] : parsed.faults
}

t.test('a key has 256 random bits and no character that a header or a shell changes', async (t) => {
  const keys = Array.from({ length: 100 }, createApiKey)
  t.equal(new Set(keys).size, 100)
  for (const key of keys) {
    t.match(key, /^drm_[A-Za-z0-9_-]{43}$/)
    t.ok(isApiKey(key))
  }
  for (const text of ['', 'drm_', key.slice(1), `${key}x`, ` ${key}`, `${key}\n`, key.toUpperCase()]) t.notOk(isApiKey(text), JSON.stringify(text))
})

t.test('an entry is parsed with all its members, and without them', async (t) => {
  const [full, short, anonymous] = entriesOf([
    { name: 'studio', sha256: sha256.toUpperCase(), creates_per_minute: 30, open_tasks: 5, monthly_budget: 12.5, expires: '2027-01-31T01:00:00+01:00', admin: true },
    { name: 'app.v1_x-2', sha256: otherSha256 },
    { name: 'anonymous', creates_per_minute: 3, creates_per_minute_per_address: 1 }
  ])
  t.same(full, {
    name: 'studio',
    sha256: hashApiKey(key),
    expiresAt: Date.parse('2027-01-31T00:00:00Z'),
    isAdmin: true,
    limits: { createsPerMinute: 30, createsPerMinutePerAddress: null, openTasks: 5, monthlyBudget: 12.5 }
  })
  t.match(short, { name: 'app.v1_x-2', expiresAt: null, isAdmin: false, limits: { createsPerMinute: null, openTasks: null, monthlyBudget: null } })
  t.match(anonymous, { name: 'anonymous', sha256: null, isAdmin: false, limits: { createsPerMinute: 3, createsPerMinutePerAddress: 1 } })
  t.same(entriesOf([]), [])
  t.equal(parseKeyEntries('\uFEFF[]').ok, true, 'with a byte order mark')
})

t.test('every fault names the entry and the member', async (t) => {
  const faulty = [
    { name: 'one', sha256: 'abc', creates_per_minute: 0, open_tasks: 1.5, monthly_budget: -1, expires: 'tomorrow', admin: 'yes' },
    { name: 'two' },
    { name: 'three', sha256, expire: '2027-01-31T00:00:00Z' },
    { sha256 },
    'four', null, [],
    { name: 'anonymous', sha256, admin: true },
    { name: 'five', sha256, expires: '2027-02-30T00:00:00Z' },
    { name: 'six', sha256, expires: '2027-02-28T25:00:00Z' },
    { name: 'seven', sha256, creates_per_minute_per_address: 1 },
    { name: 'with space', sha256 },
    { name: 'x'.repeat(64), sha256 }
  ]
  t.same(faultsOf(JSON.stringify(faulty)), [
    'entry 1 (one): sha256 must be the SHA-256 of the key, 64 hexadecimal digits',
    'entry 1 (one): creates_per_minute must be a whole number from 1',
    'entry 1 (one): open_tasks must be a whole number from 1',
    'entry 1 (one): monthly_budget must be a number from 0',
    'entry 1 (one): expires must be a time with its time zone, such as 2027-01-31T00:00:00Z',
    'entry 1 (one): admin must be true or false',
    'entry 2 (two): sha256 is missing',
    'entry 3 (three): expire is no member of an entry',
    'entry 4: name must be 1 to 63 letters, digits, dots, hyphens and underscores, a letter or a digit first',
    'entry 5: it must be an object',
    'entry 6: it must be an object',
    'entry 7: it must be an object',
    'entry 8 (anonymous): sha256 must be left out: this entry is for requests without a key',
    'entry 8 (anonymous): admin must not be true: this entry is for requests without a key',
    'entry 9 (five): expires must be a time that exists',
    'entry 10 (six): expires must be a time that exists',
    'entry 11 (seven): creates_per_minute_per_address can be set only in the entry anonymous',
    'entry 12: name must be 1 to 63 letters, digits, dots, hyphens and underscores, a letter or a digit first',
    'entry 13: name must be 1 to 63 letters, digits, dots, hyphens and underscores, a letter or a digit first'
  ])
  for (const text of ['{}', 'null', '"x"', '7']) t.same(faultsOf(text), ['It must be a JSON list of entries'])
  t.same(faultsOf('{"__proto__":1}'), ['It must be a JSON list of entries'])
  t.same(faultsOf('[{"name":"a","__proto__":{"admin":true}}]'), ['entry 1 (a): __proto__ is no member of an entry'])
})

t.test('no fault contains a key or a hash, wherever they were written', async (t) => {
  const written = [
    `[{"name":"${key}","sha256":"${sha256}"}]`,
    `[{"name":"${sha256}","sha256":"${sha256}"}]`,
    `[{"name":"a","sha256":"${key}"}]`,
    `[{"name":"a","key":"${key}","${key}":1,"expires":"${key}"}]`,
    `[{"name":"a","sha256":"${sha256}"},{"name":"b","sha256":"${sha256}"}]`,
    `[{"name":"a",\n"sha256":"${sha256}"\n${key}`,
    `${key}`,
    `["${key}"]`
  ]
  for (const text of written) {
    const faults = faultsOf(text)
    t.ok(faults.length > 0)
    t.notMatch(faults.join('\n'), new RegExp(`${key}|${sha256}|${key.slice(4, 14)}|${sha256.slice(0, 10)}`), faults.join('\n'))
  }
  t.same(faultsOf('[\n{"name":"a",\n}]'), ['It is not valid JSON, see line 3'])
})

t.test('entries with one name have the same rights, and no two entries have the same key', async (t) => {
  t.equal(entriesOf([{ name: 'app', sha256, open_tasks: 3 }, { name: 'app', sha256: otherSha256, open_tasks: 3, expires: '2027-01-31T00:00:00Z' }]).length, 2)
  t.same(faultsOf(JSON.stringify([
    { name: 'app', sha256, admin: true }, { name: 'other', sha256: sha256.toUpperCase() }, { name: 'app', sha256: otherSha256, open_tasks: 3 },
    { name: 'anonymous' }, { name: 'anonymous' }
  ])), [
    'entry 2 (other): sha256 is the same as in entry 1',
    'entry 3 (app): open_tasks must be the same in all entries with this name',
    'entry 3 (app): admin must be the same in all entries with this name',
    'entry 5 (anonymous): there can be only one entry with this name'
  ])
})

t.test('a ring finds its keys and nothing else', async (t) => {
  const keys = Array.from({ length: 50 }, createApiKey)
  const ring = new KeyRing(entriesOf([...keys.map((key, index) => ({ name: `key-${index}`, sha256: hashApiKey(key).toString('hex') })), { name: 'anonymous' }]))
  t.equal(ring.size, 50)
  t.same(keys.map((key) => ring.find(key)?.name), keys.map((_key, index) => `key-${index}`))
  for (const text of [createApiKey(), '', hashApiKey(keys[0] ?? '').toString('hex'), `${keys[0]} `, 'anonymous', '__proto__']) t.equal(ring.find(text), undefined)
})
