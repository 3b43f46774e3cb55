import { Type, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { Random } from './random.ts'

/** For how many occasions an entry of a script stands; with neither member, for the next one. */
export const turnMembers = {
  times: Type.Optional(Type.Integer({ minimum: 1, description: 'For the next n matching occasions' })),
  share: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: 'For this share of them' })),
}

interface Turn {
  times?: number
  share?: number
}

interface Entry<T> {
  turn: T
  left: number
}

/**
 * Entries that are played in the order in which they were added. Each matching occasion uses up one of an entry's
 * `times`, whether the lot falls on it or not, so that "half of the next ten" ends after ten.
 */
export class Script<T extends Turn> {
  readonly #schema: TSchema
  readonly #random: Random
  #entries: Array<Entry<T>> = []

  constructor (schema: TSchema, random: Random) {
    this.#schema = schema
    this.#random = random
  }

  /** Appends an entry. Throws a TypeError that names the first fault of one that does not fit the schema. */
  add (turn: T): void {
    const fault = Value.Errors(this.#schema, turn).First()
    if (fault !== undefined) throw new TypeError(`${fault.path || '/'}: ${fault.message}`)
    const left = turn.times ?? (turn.share === undefined ? 1 : Infinity)
    this.#entries.push({ turn: { ...turn }, left })
  }

  clear (): void {
    this.#entries = []
  }

  /** The entry that is to be played now, or undefined where none matches or the lot falls on none. */
  take (matches: (turn: T) => boolean = () => true): T | undefined {
    const chosen = this.#entries.find((entry) => entry.left > 0 && matches(entry.turn) && this.#draw(entry))
    this.#entries = this.#entries.filter((entry) => entry.left > 0)
    return chosen?.turn
  }

  /** What is still to be played, with `times` counted down. */
  outstanding (): T[] {
    return this.#entries.map(({ turn, left }) => left === Infinity ? turn : { ...turn, times: left })
  }

  #draw (entry: Entry<T>): boolean {
    entry.left -= 1
    return entry.turn.share === undefined || this.#random() < entry.turn.share
  }
}
