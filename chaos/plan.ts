import { parseArgs } from 'node:util'
import type { Chance } from './chance.ts'
import type { Life } from './service-lives.ts'
import { killPoints, stopPoints } from './strike-points.ts'

/** How long what lasts. The short form ends within 75 s, as the service's deadline ends all of its waiting. */
export interface Plan {
  seed: number
  /** Faults and troubles blow for so long; new dreams come until shortly before. */
  stormMs: number
  deadlineSeconds: number
  /** ms, from and to */
  frozenFor: [number, number]
  nextDeck: (chance: Chance) => Life[]
}

const forms = {
  long: { deadlineSeconds: 120, frozenFor: [6_000, 22_000] },
  short: { deadlineSeconds: 45, frozenFor: [6_000, 8_000] }
} satisfies Record<string, Pick<Plan, 'deadlineSeconds' | 'frozenFor'>>
const longDeck: Life[] = [
  ...killPoints.map((point): Life => ({ trouble: 'killed at a point', point })),
  ...stopPoints.map((point): Life => ({ trouble: 'frozen at a point', point })),
  { trouble: 'frozen' }, { trouble: 'killed' }, { trouble: 'killed' }, { trouble: 'disk full' }, { trouble: 'disk full' },
  { trouble: 'left alone' }
]
const longestShortSeconds = 60
const usage = 'npm run chaos -- [--seconds N] [--seed N]: the storm lasts N seconds (10 to 3600, 140 if not given)'

/** @throws Error with the usage where the arguments cannot be understood */
export function readPlan (args: string[]): Plan {
  const { seconds, seed } = readArguments(args)
  const isShort = seconds <= longestShortSeconds
  return {
    seed,
    stormMs: seconds * 1000,
    ...(isShort ? forms.short : forms.long),
    nextDeck: (chance) => chance.shuffled(isShort ? shortDeck(chance) : longDeck)
  }
}

/** Each kill point, and one of everything else: as much as 30 s hold. */
function shortDeck (chance: Chance): Life[] {
  return [
    ...killPoints.map((point): Life => ({ trouble: 'killed at a point', point })),
    { trouble: 'frozen at a point', point: chance.pick(stopPoints) }, { trouble: 'killed' }, { trouble: 'disk full' }
  ]
}

function readArguments (args: string[]): { seconds: number, seed: number } {
  const { values } = parseArgs({ args, options: { seconds: { type: 'string', default: '140' }, seed: { type: 'string' } } })
  const [seconds, seed] = [Number(values.seconds), Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))]
  if (!(seconds >= 10 && seconds <= 3_600)) throw new Error(usage)
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) throw new Error(usage)
  return { seconds, seed }
}
