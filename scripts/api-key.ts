import { createApiKey, hashApiKey } from '../services/access/api-key.ts'
import { anonymousName, parseKeyEntries } from '../services/access/key-entries.ts'

/** Makes an API key: `npm run api-key -- NAME`. It prints the key, which is stored nowhere, and the entry that makes it valid. */
const [name, ...others] = process.argv.slice(2)

if (name === undefined || others.length > 0 || name.startsWith('-')) {
  fail('Use: npm run api-key -- NAME')
} else if (name === anonymousName) {
  fail(`${anonymousName} is the name of the entry for requests without a key: {"name":"${anonymousName}"}`)
} else {
  const key = createApiKey()
  const entry = JSON.stringify({ name, sha256: hashApiKey(key).toString('hex') })
  const parsed = parseKeyEntries(`[${entry}]`)
  if (parsed.ok) print(key, entry)
  else fail(parsed.faults.join('\n'))
}

function print (key: string, entry: string): void {
  console.log(`The API key. It is shown only now:

${key}

Its entry for the JSON list in API_KEYS_FILE or API_KEYS:

${entry}`)
}

function fail (message: string): void {
  console.error(message)
  process.exitCode = 1
}
