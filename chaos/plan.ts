import { parseArgs } from 'node:util'
import type { Chance } from './seeded-random.ts'
import { extras, readExtras, usualExtras, type Extras } from './extras.ts'
import { killPoints, stopPoints, type KillPoint, type StopPoint } from './crash-points.ts'

/** ms, from and to */
export type Span = readonly [number, number]

/** What one life of the service is to go through; each ends with a `kill -9`, but for the one that is stopped. */
export type Life =
  | { trouble: 'killed at a point', point: KillPoint }
  | { trouble: 'frozen at a point', point: StopPoint }
  | { trouble: 'frozen' | 'killed' | 'stopped' | 'disk full' | 'clock stepped' | 'left alone' }

/** How long what lasts. The short forms end within 75 s, and 100 s for a cluster, as the service's deadline ends all of its waiting. */
export interface Plan extends Form {
  seed: number
  /** Faults and troubles blow for so long; new dreams come until shortly before. */
  stormMs: number
  /** Many processes on one PostgreSQL in place of one on SQLite. */
  isCluster: boolean
  extras: Extras
  /** @param clockSteps  whether the clock of the process can step */
  nextDeck: (chance: Chance, clockSteps: boolean) => Life[]
}

interface Form {
  deadlineSeconds: number
  /** before it is killed or stopped, in a life without trouble, and after the trouble */
  aliveFor: Record<'killed' | 'left alone' | 'afterwards', Span>
  frozenFor: Span
  /** between two lives of the same process */
  goneFor: Span
  /** that a client waits for an answer */
  patienceMs: { POST: number, GET: number }
  /** from the end of the last task until its callback address has been told, at most */
  longestCallbackMs: number
}

/** Who was refused is told again within 7.5 s. */
const single = {
  aliveFor: { killed: [300, 3_500], 'left alone': [8_000, 20_000], afterwards: [500, 2_500] },
  goneFor: [0, 0],
  patienceMs: { POST: 4_000, GET: 4_000 },
  longestCallbackMs: 12_000
} as const
/** Who takes over needs up to 15 s; a POST is answered within 5 s also while the database is away. */
const cluster = {
  aliveFor: { killed: [2_000, 10_000], 'left alone': [8_000, 20_000], afterwards: [1_000, 8_000] },
  frozenFor: [6_000, 16_000],
  goneFor: [0, 3_000],
  patienceMs: { POST: 8_000, GET: 3_000 },
  longestCallbackMs: 24_000
} as const
const forms = {
  single: { long: { ...single, deadlineSeconds: 120, frozenFor: [6_000, 22_000] }, short: { ...single, deadlineSeconds: 45, frozenFor: [6_000, 8_000] } },
  cluster: { long: { ...cluster, deadlineSeconds: 120 }, short: { ...cluster, deadlineSeconds: 60 } }
} satisfies Record<string, Record<string, Form>>

const everyKill = killPoints.map((point): Life => ({ trouble: 'killed at a point', point }))
const everyStop = stopPoints.map((point): Life => ({ trouble: 'frozen at a point', point }))
const longDeck: Life[] = [
  ...everyKill, ...everyStop,
  { trouble: 'frozen' }, { trouble: 'killed' }, { trouble: 'killed' }, { trouble: 'disk full' }, { trouble: 'disk full' },
  { trouble: 'left alone' }
]
const clusterDeck: Life[] = [
  ...everyKill, ...everyStop,
  { trouble: 'frozen' }, { trouble: 'killed' }, { trouble: 'stopped' }, { trouble: 'stopped' }, { trouble: 'left alone' }
]
/** Twice, as a run of 30 s has one deck at most. */
const steppedClock: Life[] = [{ trouble: 'clock stepped' }, { trouble: 'clock stepped' }]
const longestShortSeconds = 60
const usage = 'npm run chaos -- [--cluster] [--seconds N] [--seed N] [--with NAMES]: the storm lasts N seconds (10 to 3600, 140 if not given); ' +
  `NAMES is all, none or some of ${extras.join(',')}`

/** @throws Error with the usage where the arguments cannot be understood */
export function readPlan (args: string[]): Plan {
  const { seconds, seed, isCluster, extras } = readArguments(args)
  const isShort = seconds <= longestShortSeconds
  return {
    seed,
    stormMs: seconds * 1000,
    isCluster,
    extras,
    ...forms[isCluster ? 'cluster' : 'single'][isShort ? 'short' : 'long'],
    nextDeck: (chance, clockSteps) => chance.shuffled([
      ...(isCluster ? clusterDeck : isShort ? shortDeck(chance) : longDeck),
      ...(clockSteps ? steppedClock : [])
    ])
  }
}

/** Each kill point, and one of everything else: as much as 30 s hold. */
function shortDeck (chance: Chance): Life[] {
  return [...everyKill, { trouble: 'frozen at a point', point: chance.pick(stopPoints) }, { trouble: 'killed' }, { trouble: 'disk full' }]
}

function readArguments (args: string[]): { seconds: number, seed: number, isCluster: boolean, extras: Extras } {
  const { values } = parseArgs({
    args,
    options: {
      cluster: { type: 'boolean', default: false },
      seconds: { type: 'string', default: '140' },
      seed: { type: 'string' },
      with: { type: 'string', default: usualExtras }
    }
  })
  const [seconds, seed] = [Number(values.seconds), Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))]
  if (!(seconds >= 10 && seconds <= 3_600)) throw new Error(usage)
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) throw new Error(usage)
  return { seconds, seed, isCluster: values.cluster, extras: readExtras(values.with) }
}
