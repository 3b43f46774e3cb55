import { createApiKey, hashApiKey } from '../../services/access/api-key.ts'

export interface TestKey {
  key: string
  /** the entry as an operator writes it */
  entry: object
  /** what a request with the key has */
  headers: { authorization: string }
}

/** A new API key. @param members further members of its entry */
export function newTestKey (name: string, members: object = {}): TestKey {
  const key = createApiKey()
  return { key, entry: { name, sha256: hashApiKey(key).toString('hex'), ...members }, headers: { authorization: `Bearer ${key}` } }
}

/** The value of `API_KEYS`, or the content of a file, with these keys. @param others further entries */
export function keyList (keys: TestKey[], ...others: object[]): string {
  return JSON.stringify([...keys.map(({ entry }) => entry), ...others])
}
