import { LRUCache } from 'lru-cache'
import { ClaimLoop } from '../runtime/claim-loop.ts'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import type { Log } from '../runtime/log.ts'
import { RepeatedFailure } from '../runtime/repeated-failure.ts'
import type { TaskStore } from '../store/task-store.ts'
import type { Task, Transition } from '../tasks/task.ts'
import { inTrace } from '../telemetry/trace-context.ts'
import { storePoster, type StorePosterOptions } from '../videos/store-poster.ts'
import type { VideoCopier } from '../videos/video-copier.ts'
import { copyVideo, removeUnwanted, workAfterStoring } from './store-video.ts'

export interface VideoBacklogOptions extends StorePosterOptions {
  taskStore: Pick<TaskStore, 'listVideoWork' | 'acquireLease' | 'releaseLease' | 'applyTransition' | 'get'>
  videoCopier: VideoCopier
  /** how many videos are worked on at a time */
  maxConcurrent: number
  /** ms from one reading of the backlog to the next */
  intervalMs: number
  now: () => number
  log: Log
}

/** Longer than several intervals, so that a holder that works keeps it. */
const leaseTtlMs = 30_000
/** A file that arrives more slowly does not keep the others waiting. */
const timeLimitMs = 15 * 60_000
/** A poster that cannot be made is tried again for this time after its first failure here. The provider keeps its files for an hour. */
const posterRetryMs = 2 * 60 * 60_000
const maxRememberedFailures = 1_000

/**
 * Does the work that is left for the videos of completed tasks: copies that were not possible before the deadline, and
 * posters. The work of all instances is done by the one that holds the lease. Work that fails is repeated in the next pass
 * over the backlog.
 */
export class VideoBacklog {
  #options
  #loop
  #running = new Map<string, Promise<void>>()
  #stopping = new AbortController()
  /** The pass over the backlog continues after this task. */
  #after: string | undefined
  #failure
  /** When a poster could not be made for the first time, by task. Not how old the task is: the service can have been stopped for hours. */
  #firstPosterFailures = new LRUCache<string, number>({ max: maxRememberedFailures })

  constructor (options: VideoBacklogOptions) {
    this.#options = options
    const { intervalMs, log } = options
    this.#failure = new RepeatedFailure(log, {
      failed: 'The work that is left for a video cannot be done at the moment; trying again until it can',
      succeeded: 'The work that is left for videos goes on'
    })
    this.#loop = new ClaimLoop({ claim: () => this.#claim(), claimIntervalMs: intervalMs, log })
  }

  start (): void {
    this.#loop.start()
  }

  /** Notifies the backlog that a task with work left was completed. Returns at once. */
  wake (): void {
    this.#loop.wake()
  }

  /** Breaks off what is being done; another instance continues at once. */
  async stop (): Promise<void> {
    this.#stopping.abort(new Error('The instance is stopping'))
    await this.#loop.stop()
    await Promise.all(this.#running.values())
    await this.#options.taskStore.releaseLease('videos').catch((err: unknown) => {
      this.#options.log.debug({ err }, 'The lease of the videos could not be released; it expires')
    })
  }

  async #claim (): Promise<void> {
    const { taskStore, maxConcurrent } = this.#options
    const free = maxConcurrent - this.#running.size
    const found = free === 0 ? [] : await taskStore.listVideoWork(this.#after, free)
    if (found.length === 0 && this.#running.size === 0) {
      this.#after = undefined
      return
    }
    if (!await taskStore.acquireLease('videos', leaseTtlMs)) return
    this.#after = found.length < free ? undefined : found.at(-1)?.id
    for (const task of found) if (!this.#running.has(task.id)) this.#run(task)
  }

  #run (task: Task): void {
    const done = inTrace(task.traceparent, () => this.#finish(task))
      .then((isDone) => {
        this.#running.delete(task.id)
        // What cannot be done now waits for the next interval.
        if (isDone) this.#loop.wake()
      })
    this.#running.set(task.id, done)
  }

  /** Never rejects. @returns whether the work was done */
  async #finish (task: Task): Promise<boolean> {
    const inTime = createDeadlineSignal(this.#stopping.signal, timeLimitMs)
    try {
      await (task.videoWork === 'store' ? this.#store(task, inTime.signal) : this.#storePoster(task, inTime.signal))
      this.#failure.succeeded()
      return true
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#failure.failed(error, { task_id: task.id })
      return false
    } finally {
      inTime.dispose()
    }
  }

  async #store (task: Task, signal: AbortSignal): Promise<void> {
    const { taskStore, log } = this.#options
    const copied = await copyVideo(task, this.#options, signal)
    switch (copied.outcome) {
      case 'unavailable': throw copied.error
      case 'stored': {
        const isRecorded = await this.#record(task, { type: 'record_video', videoFile: copied.file, videoWork: workAfterStoring(task, this.#options) })
        // A task that was deleted meanwhile takes no files.
        if (!isRecorded && await taskStore.get(task.id) === undefined) await removeUnwanted(task.videoName, this.#options)
        break
      }
      case 'refused': {
        const details = { task_id: task.id, prediction_id: task.predictionId, reason: copied.message }
        if (await this.#record(task, { type: 'lose_video' })) log.error(details, 'A video is lost: it could not be stored while the provider had it')
      }
    }
  }

  async #storePoster (task: Task, signal: AbortSignal): Promise<void> {
    const poster = await storePoster(task, this.#options, signal).catch((error: unknown) => this.#giveUpLatePoster(task, error))
    const isRecorded = await this.#record(task, { type: 'record_poster', poster: poster ?? null })
    // No other attempt has used this name.
    if (!isRecorded && poster !== undefined) await removeUnwanted(poster.name, this.#options)
  }

  /** @throws the error while the poster can be tried again */
  #giveUpLatePoster ({ id }: Task, error: unknown): undefined {
    const { now, log } = this.#options
    const firstFailureAt = this.#firstPosterFailures.get(id) ?? now()
    this.#firstPosterFailures.set(id, firstFailureAt)
    if (this.#stopping.signal.aborted || now() - firstFailureAt < posterRetryMs) throw error
    log.warn({ err: error, task_id: id }, 'A poster could not be made for two hours; the task keeps none')
  }

  /** @returns false if the task was deleted or changed meanwhile */
  async #record (task: Task, transition: Transition): Promise<boolean> {
    return (await this.#options.taskStore.applyTransition(task, transition)).outcome === 'applied'
  }
}
