import { wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import { RepeatedFailure } from '../runtime/repeated-failure.ts'
import type { TaskStore } from '../store/task-store.ts'
import { retentionRan, type RetentionWork } from '../telemetry/channels.ts'
import { ownerFile } from '../videos/archive-name.ts'
import type { VideoArchive } from '../videos/video-archive.ts'
import { checkArchiveOwner, type ArchiveOwnership } from './archive-owner.ts'
import { sweepOrphans } from './orphan-sweep.ts'
import { removeExpired } from './remove-expired.ts'

export interface RetentionRunnerOptions {
  taskStore: TaskStore
  videoArchive: VideoArchive
  /** ms from the end of a task to its removal; null if tasks are kept for ever */
  retentionMs: number | null
  /** ms for which a file that no task names is left alone */
  orphanAgeMs: number
  log: Log
}

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
/** Tasks and orphans are removed late by a fraction of the time for which they are kept, within these limits. */
const roundLimits = { fraction: 1 / 20, minMs: second, maxMs: 5 * minute }
const sweepLimits = { fraction: 1 / 4, minMs: 10 * second, maxMs: 12 * hour }
const firstSweepMs = 5 * minute
/** Of the lease, in rounds: an instance that has died is replaced after two. */
const leaseRounds = 2
const minLeaseMs = 30 * second
const foreignMessage = 'The video archive is marked by another database: it is shared, or the tasks were moved. No orphans are removed from it. If it is only used with this database, delete the mark'

/**
 * Removes what is not to be kept, on one instance at a time, which holds a lease: expired tasks with their videos, and files of the
 * archive that no task names.
 */
export class RetentionRunner {
  #options
  #stopping = new AbortController()
  #running: Promise<void> | undefined
  #roundMs
  #sweepMs
  #sweepAt
  /** Whether the archive belongs to another store; undefined until that is known. */
  #isForeign: boolean | undefined
  #expiryFailure
  #sweepFailure

  constructor (options: RetentionRunnerOptions) {
    this.#options = options
    const { retentionMs, orphanAgeMs, log } = options
    this.#sweepMs = fractionOf(orphanAgeMs, sweepLimits)
    this.#roundMs = Math.min(this.#sweepMs, fractionOf(retentionMs ?? Infinity, roundLimits))
    this.#sweepAt = performance.now() + Math.min(firstSweepMs, this.#sweepMs)
    this.#expiryFailure = new RepeatedFailure(log, {
      failed: 'Expired tasks cannot be removed; trying again until they can', succeeded: 'Expired tasks can be removed again'
    })
    this.#sweepFailure = new RepeatedFailure(log, {
      failed: 'The video archive cannot be searched for orphans; trying again until it can', succeeded: 'The video archive can be searched for orphans again'
    })
  }

  /** Works until `stop`. */
  start (): void {
    this.#running ??= this.#run()
  }

  /** Resolves when the work under way has ended; another instance continues at once. */
  async stop (): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await this.#options.taskStore.releaseLease('retention').catch((err: unknown) => {
      this.#options.log.debug({ err }, 'The lease of the retention could not be released; it expires')
    })
  }

  async #run (): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      if (this.#isForeign === undefined) await this.#learnOwner()
      // At random, so that instances that were started together do not ask the store together.
      await wait(this.#roundMs * (0.75 + Math.random() / 2), signal).catch(() => undefined)
      if (!signal.aborted) await this.#round()
    }
  }

  async #round (): Promise<void> {
    const isHolder = await this.#acquireLease().catch((err: unknown) => {
      this.#options.log.debug({ err }, 'The lease of the retention could not be acquired; trying again')
      return false
    })
    if (!isHolder) return
    if (this.#options.retentionMs !== null) await this.#attempt('expired', this.#expiryFailure, () => this.#removeExpired())
    if (performance.now() >= this.#sweepAt) await this.#attempt('orphans', this.#sweepFailure, () => this.#sweep())
  }

  /** The next round repeats what has failed. */
  async #attempt (work: RetentionWork, failure: RepeatedFailure, run: () => Promise<void>): Promise<void> {
    try {
      await run()
      failure.succeeded()
      if (retentionRan.hasSubscribers) retentionRan.publish({ work, outcome: 'done' })
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      failure.failed(error)
      if (retentionRan.hasSubscribers) retentionRan.publish({ work, outcome: 'failed' })
    }
  }

  async #removeExpired (): Promise<void> {
    const { retentionMs } = this.#options
    if (retentionMs === null) return
    await removeExpired({ ...this.#options, ...this.#control(), retentionMs })
  }

  async #sweep (): Promise<void> {
    const ownership = await sweepOrphans({ ...this.#options, ...this.#control(), minAgeMs: this.#options.orphanAgeMs })
    this.#setOwnership(ownership)
    // After a new mark, the next round looks whether it is still there.
    if (ownership !== 'new') this.#sweepAt = performance.now() + this.#sweepMs
  }

  /** Every instance warns of a foreign archive at its start. */
  async #learnOwner (): Promise<void> {
    try {
      this.#setOwnership(await checkArchiveOwner(this.#options))
    } catch (err) {
      this.#options.log.debug({ err }, 'The owner of the video archive could not be read; reading it again')
    }
  }

  #setOwnership (ownership: ArchiveOwnership): void {
    const wasForeign = this.#isForeign
    this.#isForeign = ownership === 'foreign'
    if (this.#isForeign && wasForeign !== true) this.#options.log.warn({ mark: ownerFile }, foreignMessage)
    if (!this.#isForeign && wasForeign === true) this.#options.log.info({}, 'The video archive belongs to this database now; orphans are removed from it')
  }

  #control () {
    return { mayContinue: () => this.#acquireLease(), signal: this.#stopping.signal }
  }

  #acquireLease (): Promise<boolean> {
    return this.#options.taskStore.acquireLease('retention', Math.max(minLeaseMs, leaseRounds * this.#roundMs))
  }
}

function fractionOf (ms: number, { fraction, minMs, maxMs }: { fraction: number, minMs: number, maxMs: number }): number {
  return Math.min(maxMs, Math.max(minMs, ms * fraction))
}
