import { styles, type Style } from '../services/tasks/styles.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface Dream { key: string, text: string, style: Style }

const images = [
  'A whale swims through the clouds above my school', '鯨が雲の中を泳ぐ', 'кит плывёт сквозь облака 🐋', 'الحوت يسبح في السماء',
  '50% off? #1 + a “quoted” & <tagged> dream', 'a family 👩‍👩‍👧 in a house of é and ñ'
] as const
const maxLength = 2_000
const defaultMix = { sharedShare: 0.1, groups: 4 }
const sameDreamsMix = { sharedShare: 0.5, groups: 3 }

/** Makes dreams: most are unique, some of these very long, and a few are shared by many tasks. */
export class Dreams {
  readonly #random: SeededRandom
  readonly #mix: typeof defaultMix
  #count = 0

  /** @param areSame  whether half of the tasks have one of a few dreams */
  constructor (random: SeededRandom, areSame: boolean) {
    this.#random = random
    this.#mix = areSame ? sameDreamsMix : defaultMix
  }

  next (): Dream {
    const { sharedShare, groups } = this.#mix
    if (this.#random.happens(sharedShare)) return this.#shared(this.#random.integer(1, groups))
    const key = `u${++this.#count}`
    const text = `[dream ${key}] ${this.#random.pick(images)}`
    return { key, text: this.#random.happens(0.04) ? pad(text) : text, style: this.#random.pick(styles) }
  }

  /** The tasks of a group have the same dream and style: they differ in nothing but their order. */
  #shared (group: number): Dream {
    return { key: `g${group}`, text: `[dream g${group}] ${images[0]}`, style: styles[group % styles.length] ?? styles[0] }
  }
}

function pad (text: string): string {
  return text + 'ж'.repeat(maxLength - [...text].length)
}
