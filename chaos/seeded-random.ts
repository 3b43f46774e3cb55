import { seededRandom, type Random } from '../replicate-emulator/random.ts'

/** Random choices; the same seed gives the same choices again. */
export class SeededRandom {
  readonly #random: Random

  constructor (seed: number) {
    this.#random = seededRandom(seed)
  }

  /** A sequence of its own, so that the number of choices of one actor does not change those of the others. */
  fork (): SeededRandom {
    return new SeededRandom(this.integer(0, 2 ** 32 - 1))
  }

  /** From `min` (included) to `max` (excluded). */
  between (min: number, max: number): number {
    return min + this.#random() * (max - min)
  }

  /** Both ends included. */
  integer (min: number, max: number): number {
    return Math.floor(this.between(min, max + 1))
  }

  happens (probability: number): boolean {
    return this.#random() < probability
  }

  pick<T> (choices: readonly [T, ...T[]]): T {
    return choices[this.integer(0, choices.length - 1)] ?? choices[0]
  }

  shuffled<T> (items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, order: this.#random() }))
      .sort((a, b) => a.order - b.order)
      .map(({ item }) => item)
  }
}
