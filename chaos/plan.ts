import { parseArgs } from 'node:util'
import { freezePoints, killPoints, type FreezePoint, type KillPoint } from './crash-points.ts'
import { defaultExtras, extras, readExtras, type Extras } from './extras.ts'
import type { SeededRandom } from './seeded-random.ts'

/** ms, from and to */
export type Span = readonly [number, number]

export type ArchiveKind = 'folder' | 's3'

/** What happens to one process of the service. Each process ends with a `kill -9`, except for one that is stopped. */
export type ProcessFault =
  | { kind: 'killed at a crash point', point: KillPoint }
  | { kind: 'frozen at a crash point' | 'disk full at a crash point', point: FreezePoint }
  | { kind: 'frozen' | 'killed' | 'stopped' | 'disk full' | 'clock stepped' | 'undisturbed' }

/**
 * The arguments of a run and its durations. The deadline of the tasks bounds every wait of the service, so that the short
 * forms end within 75 s, and within 100 s for a cluster.
 */
export interface Plan extends Timing {
  seed: number
  /** The duration of the faults; clients create tasks until shortly before its end. */
  faultPhaseMs: number
  /** Many processes on one PostgreSQL instead of one process on SQLite. */
  isCluster: boolean
  /** Where the videos are stored. */
  archive: ArchiveKind
  extras: Extras
  /** @param clockSteps  whether the clock of the process can step */
  nextFaults: (random: SeededRandom, clockSteps: boolean) => ProcessFault[]
}

interface Timing {
  deadlineSeconds: number
  /** how long a process runs before it is killed or stopped, without a fault, and after its fault */
  runDuration: Record<'killed' | 'undisturbed' | 'afterFault', Span>
  freezeDuration: Span
  /** from the end of a process to the start of the next one */
  restartDelay: Span
  /** of the requests of the clients */
  timeoutMs: { POST: number, GET: number }
  /** from the end of the last task until its callback must have been received */
  maxCallbackMs: number
  /** from then on until the archive must have the videos of all tasks, and nothing else */
  maxSettleMs: number
}

/** A callback that is refused is sent again within 7.5 s. */
const single = {
  runDuration: { killed: [300, 3_500], undisturbed: [8_000, 20_000], afterFault: [500, 2_500] },
  restartDelay: [0, 0],
  timeoutMs: { POST: 4_000, GET: 4_000 },
  maxCallbackMs: 12_000,
  maxSettleMs: 45_000
} as const
/** A takeover takes up to 15 s. A POST is answered within 5 s even while the database is unavailable. */
const cluster = {
  runDuration: { killed: [2_000, 10_000], undisturbed: [8_000, 20_000], afterFault: [1_000, 8_000] },
  freezeDuration: [6_000, 16_000],
  restartDelay: [0, 3_000],
  timeoutMs: { POST: 8_000, GET: 3_000 },
  maxCallbackMs: 24_000,
  maxSettleMs: 90_000
} as const
const timings = {
  single: { long: { ...single, deadlineSeconds: 120, freezeDuration: [6_000, 22_000] }, short: { ...single, deadlineSeconds: 45, freezeDuration: [6_000, 8_000] } },
  cluster: { long: { ...cluster, deadlineSeconds: 120 }, short: { ...cluster, deadlineSeconds: 60 } }
} satisfies Record<string, Record<string, Timing>>

const everyKill = killPoints.map((point): ProcessFault => ({ kind: 'killed at a crash point', point }))
const everyFreeze = freezePoints.map((point): ProcessFault => ({ kind: 'frozen at a crash point', point }))
const fullWhileCopying: ProcessFault = { kind: 'disk full at a crash point', point: 'freeze_while_copying' }
const longRound: ProcessFault[] = [
  ...everyKill, ...everyFreeze,
  { kind: 'frozen' }, { kind: 'killed' }, { kind: 'killed' }, { kind: 'disk full' }, fullWhileCopying,
  { kind: 'undisturbed' }
]
const clusterRound: ProcessFault[] = [
  ...everyKill, ...everyFreeze,
  { kind: 'frozen' }, { kind: 'killed' }, { kind: 'stopped' }, { kind: 'stopped' }, { kind: 'undisturbed' }
]
/** Twice, because a run of 30 s gets through one round at most. */
const clockFaults: ProcessFault[] = [{ kind: 'clock stepped' }, { kind: 'clock stepped' }]
const maxShortSeconds = 60
const usage = 'npm run chaos -- [--cluster] [--archive folder|s3] [--seconds N] [--seed N] [--with NAMES]: ' +
  `a cluster has s3 by default; the faults last N seconds (10 to 3600, 140 by default); NAMES is all, none or some of ${extras.join(',')}`

/** @throws Error with the usage if an argument is not valid */
export function readPlan (args: string[]): Plan {
  const { seconds, seed, isCluster, archive, extras } = readArguments(args)
  const isShort = seconds <= maxShortSeconds
  return {
    seed,
    faultPhaseMs: seconds * 1000,
    isCluster,
    archive,
    extras,
    ...timings[isCluster ? 'cluster' : 'single'][isShort ? 'short' : 'long'],
    nextFaults: (random, clockSteps) => random.shuffled([
      ...(isCluster ? clusterRound : isShort ? shortRound(random) : longRound),
      ...(isCluster && archive === 'folder' ? [fullWhileCopying] : []),
      ...(clockSteps ? clockFaults : [])
    ])
  }
}

/** Each kill point and one fault of each other kind: 40 s are enough for these, in another order each time. */
function shortRound (random: SeededRandom): ProcessFault[] {
  return [...everyKill, { kind: 'frozen at a crash point', point: random.pick(freezePoints) }, { kind: 'killed' }, fullWhileCopying]
}

function readArguments (args: string[]): { seconds: number, seed: number, isCluster: boolean, archive: ArchiveKind, extras: Extras } {
  const { values } = parseArgs({
    args,
    options: {
      cluster: { type: 'boolean', default: false },
      archive: { type: 'string' },
      seconds: { type: 'string', default: '140' },
      seed: { type: 'string' },
      with: { type: 'string', default: defaultExtras }
    }
  })
  const [seconds, seed] = [Number(values.seconds), Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))]
  if (!(seconds >= 10 && seconds <= 3_600)) throw new Error(usage)
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) throw new Error(usage)
  const { cluster: isCluster, archive = isCluster ? 's3' : 'folder' } = values
  if (archive !== 'folder' && archive !== 's3') throw new Error(usage)
  return { seconds, seed, isCluster, archive, extras: readExtras(values.with) }
}
