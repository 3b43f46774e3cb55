import { Type, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Random } from './random.ts'

/** How often an entry of a script applies; with neither member, once. */
export const repetitionMembers = {
  times: Type.Optional(Type.Integer({ minimum: 1, description: 'For the next n matching occasions' })),
  share: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: 'For this share of them' }))
}

interface Repetition {
  times?: number
  share?: number
}

interface Entry<T> {
  value: T
  left: number
}

/**
 * Entries that apply in the order in which they were added. Each matching occasion uses up one of an entry's `times`, whether
 * or not `share` selects it, so that "half of the next ten" ends after ten.
 */
export class Script<T extends Repetition> {
  readonly #schema: TSchema
  readonly #random: Random
  #entries: Array<Entry<T>> = []

  constructor (schema: TSchema, random: Random) {
    this.#schema = schema
    this.#random = random
  }

  /** Appends an entry. Throws a TypeError with the first violation if it does not match the schema. */
  add (value: T): void {
    const fault = Value.Errors(this.#schema, value).First()
    if (fault !== undefined) throw new TypeError(`${fault.path || '/'}: ${fault.message}`)
    const left = value.times ?? (value.share === undefined ? 1 : Infinity)
    this.#entries.push({ value: { ...value }, left })
  }

  /** Removes the entries that match; all of them by default. */
  clear (matches: (value: T) => boolean = () => true): void {
    this.#entries = this.#entries.filter(({ value }) => !matches(value))
  }

  /** The entry that applies now; undefined if none matches, or if `share` selects none. */
  take (matches: (value: T) => boolean = () => true): T | undefined {
    const chosen = this.#entries.find((entry) => entry.left > 0 && matches(entry.value) && this.#draw(entry))
    this.#entries = this.#entries.filter((entry) => entry.left > 0)
    return chosen?.value
  }

  /** The entries that are left, with the `times` that are left. */
  outstanding (): T[] {
    return this.#entries.map(({ value, left }) => left === Infinity ? value : { ...value, times: left })
  }

  #draw (entry: Entry<T>): boolean {
    entry.left -= 1
    return entry.value.share === undefined || this.#random() < entry.value.share
  }
}
