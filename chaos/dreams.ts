import { styles, type Style } from '../services/tasks/styles.ts'
import type { Chance } from './seeded-random.ts'

export interface Dream { key: string, text: string, style: Style }

const images = [
  'A whale swims through the clouds above my school', '鯨が雲の中を泳ぐ', 'кит плывёт сквозь облака 🐋', 'الحوت يسبح في السماء',
  '50% off? #1 + a “quoted” & <tagged> dream', 'a family 👩‍👩‍👧 in a house of é and ñ'
] as const
const longest = 2_000
const usually = { sharedShare: 0.1, groups: 4 }
const mostlyTheSame = { sharedShare: 0.5, groups: 3 }

/** Mostly dreams that nobody else has, now and then a very long one, and a few that many have. */
export class Dreams {
  readonly #chance: Chance
  readonly #mixture: typeof usually
  #count = 0

  /** @param areSame  whether half of the dreams are one of a few */
  constructor (chance: Chance, areSame: boolean) {
    this.#chance = chance
    this.#mixture = areSame ? mostlyTheSame : usually
  }

  next (): Dream {
    const { sharedShare, groups } = this.#mixture
    if (this.#chance.happens(sharedShare)) return this.#shared(this.#chance.integer(1, groups))
    const key = `u${++this.#count}`
    const text = `[dream ${key}] ${this.#chance.pick(images)}`
    return { key, text: this.#chance.happens(0.04) ? lengthened(text) : text, style: this.#chance.pick(styles) }
  }

  /** Same dream, same style: nothing but the order tells these tasks apart. */
  #shared (group: number): Dream {
    return { key: `g${group}`, text: `[dream g${group}] ${images[0]}`, style: styles[group % styles.length] ?? styles[0] }
  }
}

function lengthened (text: string): string {
  return text + 'ж'.repeat(longest - [...text].length)
}
