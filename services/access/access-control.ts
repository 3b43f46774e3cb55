import { readBearerToken } from './bearer-token.ts'
import type { KeyEntry } from './key-entries.ts'
import type { KeyRing } from './key-ring.ts'

/** Who sends a request, as far as that decides what it may see. */
export interface Caller {
  /** The name of its API key. Null for a request without a key; what it makes belongs to no key. */
  readonly keyName: string | null
  /** whether it sees and changes the tasks of all keys */
  readonly isAdmin: boolean
  /** what has admitted it; null if the service has no keys */
  readonly entry: KeyEntry | null
}

export type Admission =
  | { outcome: 'admitted', caller: Caller }
  /** There is no `Authorization`, and requests without a key are not admitted. */
  | { outcome: 'key_missing' }
  /** There is one, but it is no key of this service. Such a request is never treated as one without a key. */
  | { outcome: 'key_invalid' | 'key_expired' }

export interface AccessControlOptions {
  /** null: the service has no keys, and everyone who reaches it may use it */
  keys: KeyRing | null
  /** whether only programs on this machine reach the service: without keys, they may do everything */
  isLoopbackOnly: boolean
  /** ms since the epoch */
  now: () => number
}

/** Decides who may use the service, and whose tasks they see. */
export class AccessControl {
  #keys: KeyRing | null
  readonly #listeners: Array<() => void> = []
  readonly #open: Caller
  readonly #now: () => number

  constructor ({ keys, isLoopbackOnly, now }: AccessControlOptions) {
    this.#keys = keys
    this.#open = { keyName: null, isAdmin: isLoopbackOnly, entry: null }
    this.#now = now
  }

  /** whether the service has no keys */
  get isOpen (): boolean {
    return this.#keys === null
  }

  /** Replaces all keys. Requests under way keep their caller; those that wait have to ask `isCurrent` again. */
  replaceKeys (keys: KeyRing): void {
    this.#keys = keys
    for (const listener of this.#listeners) listener()
  }

  /** Calls `listener` each time the keys have been replaced. */
  onKeysReplaced (listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Says for the log who may use the service. */
  describe (): string {
    if (this.#keys === null) return 'open: no API keys'
    return `${this.#keys.size} API keys${this.#keys.anonymous === undefined ? '' : ', and requests without a key'}`
  }

  /** @param rawHeaders as Node gives them */
  admit (rawHeaders: string[]): Admission {
    if (this.#keys === null) return { outcome: 'admitted', caller: this.#open }
    const bearer = readBearerToken(rawHeaders)
    if (bearer === 'invalid') return { outcome: 'key_invalid' }
    if (bearer === 'none') return this.#admitWithoutKey(this.#keys)
    const entry = this.#keys.find(bearer.token)
    if (entry === undefined) return { outcome: 'key_invalid' }
    if (this.#isExpired(entry)) return { outcome: 'key_expired' }
    return { outcome: 'admitted', caller: { keyName: entry.name, isAdmin: entry.isAdmin, entry } }
  }

  /** Whether a request is admitted although it has no key: it may come from a web page, which cannot know a key. */
  isWithoutKey (rawHeaders: string[]): boolean {
    return this.#keys === null || (this.#keys.anonymous !== undefined && readBearerToken(rawHeaders) === 'none')
  }

  /** Whether a caller that was admitted earlier would be admitted now, with the same rights. */
  isCurrent ({ entry }: Caller): boolean {
    if (entry === null || this.#keys === null) return entry === null && this.#keys === null
    const current = this.#keys.findSame(entry)
    return current !== undefined && !this.#isExpired(current)
  }

  #admitWithoutKey ({ anonymous }: KeyRing): Admission {
    if (anonymous === undefined || this.#isExpired(anonymous)) return { outcome: 'key_missing' }
    return { outcome: 'admitted', caller: { keyName: null, isAdmin: false, entry: anonymous } }
  }

  #isExpired ({ expiresAt }: KeyEntry): boolean {
    return expiresAt !== null && expiresAt <= this.#now()
  }
}

/**
 * Whether a caller sees a task. A task that was made without a key is seen by each caller who knows its id, as in a service without
 * keys; a task of another key does not exist for it.
 */
export function canSee ({ keyName, isAdmin }: Caller, task: { readonly keyName: string | null }): boolean {
  return isAdmin || task.keyName === null || task.keyName === keyName
}

/** Whether a caller may list or delete tasks: its own ones, or all. Without a key there are no own ones, because the id is all that protects a task. */
export function ownsTasks ({ keyName, isAdmin }: Caller): boolean {
  return isAdmin || keyName !== null
}
