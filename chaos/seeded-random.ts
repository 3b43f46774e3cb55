import { seededRandom, type Random } from '../replicate-emulator/random.ts'

/** Choices that the same seed makes again. */
export class Chance {
  readonly #random: Random

  constructor (seed: number) {
    this.#random = seededRandom(seed)
  }

  /** A stream of its own, so that how often one actor asks does not change what the others are told. */
  fork (): Chance {
    return new Chance(this.integer(0, 2 ** 32 - 1))
  }

  /** From `least` (included) to `most` (excluded). */
  between (least: number, most: number): number {
    return least + this.#random() * (most - least)
  }

  /** Both ends included. */
  integer (least: number, most: number): number {
    return Math.floor(this.between(least, most + 1))
  }

  happens (probability: number): boolean {
    return this.#random() < probability
  }

  pick<T> (choices: readonly [T, ...T[]]): T {
    return choices[this.integer(0, choices.length - 1)] ?? choices[0]
  }

  shuffled<T> (items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, place: this.#random() }))
      .sort((a, b) => a.place - b.place)
      .map(({ item }) => item)
  }
}
