import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { hashApiKey, isApiKey } from './api-key.ts'
import { anonymousName, type KeyEntry } from './key-entries.ts'

/**
 * The API keys of one version of the configuration. It never changes: another version is another ring.
 *
 * How long a look-up takes tells nothing about the keys that exist. They are found by a keyed hash of their SHA-256 whose secret exists
 * only here, so a caller cannot choose what is compared; the SHA-256 itself is then compared in constant time.
 */
export class KeyRing {
  readonly #blindingSecret = randomBytes(32)
  readonly #entries = new Map<string, KeyEntry>()
  /** What requests without a key may do; undefined if they are refused. */
  readonly anonymous: KeyEntry | undefined

  constructor (entries: readonly KeyEntry[]) {
    this.anonymous = entries.find(({ name }) => name === anonymousName)
    for (const entry of entries) if (entry.sha256 !== null) this.#entries.set(this.#blind(entry.sha256), entry)
  }

  /** the number of keys */
  get size (): number {
    return this.#entries.size
  }

  /** @returns the entry of a key, expired or not; undefined for any text that is no key of this ring */
  find (key: string): KeyEntry | undefined {
    return isApiKey(key) ? this.#findByHash(hashApiKey(key)) : undefined
  }

  /** @returns the entry of this ring with the same key or, without a key, the same permission; undefined if it has none, or with other rights */
  findSame ({ name, isAdmin, sha256 }: KeyEntry): KeyEntry | undefined {
    const entry = sha256 === null ? this.anonymous : this.#findByHash(sha256)
    return entry?.name === name && entry.isAdmin === isAdmin ? entry : undefined
  }

  #findByHash (hash: Buffer): KeyEntry | undefined {
    const entry = this.#entries.get(this.#blind(hash))
    return entry !== undefined && entry.sha256 !== null && timingSafeEqual(entry.sha256, hash) ? entry : undefined
  }

  #blind (hash: Buffer): string {
    return createHmac('sha256', this.#blindingSecret).update(hash).digest('base64')
  }
}
