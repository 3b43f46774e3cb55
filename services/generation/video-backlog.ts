import { ClaimLoop } from '../runtime/claim-loop.ts'
import type { Log } from '../runtime/log.ts'
import type { TaskStore } from '../store/task-store.ts'
import type { StoredFile, Task, Transition } from '../tasks/task.ts'
import type { VideoArchive } from '../videos/video-archive.ts'
import type { VideoCopier } from '../videos/video-copier.ts'
import { copyVideo, removeUnwanted } from './store-video.ts'

export interface VideoBacklogOptions {
  taskStore: Pick<TaskStore, 'listVideoWork' | 'acquireLease' | 'releaseLease' | 'applyTransition' | 'get'>
  videoCopier: VideoCopier
  videoArchive: VideoArchive
  /** Makes the poster of a stored video. @returns undefined if none can be made */
  makePoster: (task: Task, signal: AbortSignal) => Promise<{ name: string, file: StoredFile } | undefined>
  hasPosterSource: (task: Task) => boolean
  /** how many videos are worked on at a time */
  maxConcurrent: number
  /** ms from one reading of the backlog to the next */
  intervalMs: number
  log: Log
}

/** Longer than several intervals, so that a holder that works keeps it. */
const leaseTtlMs = 30_000

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
  #isFailing = false

  constructor (options: VideoBacklogOptions) {
    this.#options = options
    const { intervalMs, log } = options
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
    const done = this.#finish(task)
      .then((isDone) => {
        this.#running.delete(task.id)
        // What cannot be done now waits for the next interval.
        if (isDone) this.#loop.wake()
      })
    this.#running.set(task.id, done)
  }

  /** Never rejects. @returns whether the work was done */
  async #finish (task: Task): Promise<boolean> {
    const { log } = this.#options
    const { signal } = this.#stopping
    try {
      const transition = task.videoWork === 'store' ? await this.#store(task, signal) : await this.#makePoster(task, signal)
      if (transition === undefined) return false
      await this.#record(task, transition)
      if (this.#isFailing) log.info({}, 'The work that is left for videos goes on')
      this.#isFailing = false
      return true
    } catch (err) {
      if (!signal.aborted) this.#logFailure(err, task)
      return false
    }
  }

  async #store (task: Task, signal: AbortSignal): Promise<Transition | undefined> {
    const copied = await copyVideo(task, this.#options, signal)
    switch (copied.outcome) {
      case 'stored': return { type: 'record_video', videoFile: copied.file, videoWork: this.#options.hasPosterSource(task) ? 'poster' : null }
      case 'unavailable': return this.#logFailure(copied.error, task)
      case 'refused':
        this.#options.log.error({ task_id: task.id, prediction_id: task.predictionId, reason: copied.message }, 'A video is lost: it could not be stored while the provider had it')
        return { type: 'lose_video' }
    }
  }

  async #makePoster (task: Task, signal: AbortSignal): Promise<Transition> {
    return { type: 'record_poster', poster: await this.#options.makePoster(task, signal) ?? null }
  }

  /** A task that was deleted meanwhile takes no files. */
  async #record (task: Task, transition: Transition): Promise<void> {
    const { taskStore, videoArchive, log } = this.#options
    const { outcome } = await taskStore.applyTransition(task, transition)
    if (outcome === 'applied' || await taskStore.get(task.id) !== undefined) return
    if (transition.type === 'record_video') await removeUnwanted(task, this.#options)
    if (transition.type === 'record_poster' && transition.poster !== null) {
      await videoArchive.remove(transition.poster.name).catch((err: unknown) => log.debug({ err, task_id: task.id }, 'The poster of a deleted task could not be removed'))
    }
  }

  #logFailure (err: unknown, task: Task): undefined {
    const { log } = this.#options
    const message = 'The work that is left for a video cannot be done at the moment; trying again until it can'
    if (this.#isFailing) log.debug({ err, task_id: task.id }, message)
    else log.warn({ err, task_id: task.id }, message)
    this.#isFailing = true
  }
}
