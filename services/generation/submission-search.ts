import { LRUCache } from 'lru-cache'
import type { Prediction } from '../replicate/prediction.ts'
import type { ProviderClock } from '../replicate/provider-clock.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { TaskStore } from '../store/task-store.ts'
import type { Task, Transition } from '../tasks/task.ts'
import { listAroundSubmissions, type Listing } from './submission-listing.ts'
import { canMatch, maxSkewMs, matchSubmissions, type Candidate, type FoundPrediction, type Match, type OpenSubmission } from './submission-matching.ts'

export interface SubmissionSearchOptions {
  taskStore: TaskStore
  replicate: ReplicateClient
  providerClock: ProviderClock
  /** ms for which a submission intent is valid */
  intentTtlMs: number
  /** ms for which a sender waits for the response to a create */
  createTimeoutMs: number
  /** ms that a new prediction may be missing from the provider's list */
  listLagMs: number
  /** ms since the epoch */
  now: () => number
  log: Log
  /** aborted when the instance stops */
  signal: AbortSignal
}

/** How often the list is read while a submission is in doubt, and how often for the predictions of canceled tasks. */
const intervalMs = 4_000
const canceledIntervalMs = 30_000
/** Submissions that become ambiguous within this time are searched for together. */
const minIntervalMs = 1_000
/** The lease of the search expires after this time, and another instance takes over. */
const leaseTtlMs = 15_000
/** How many complete searches have to find nothing before a task is submitted again. */
const confirmations = 2
const searchBackoff = { firstMs: 1_000, maxMs: 10_000 }
const maxReadsAtOnce = 8
const maxRemembered = 5_000

/** Consecutive complete searches without a result, for one version of a task. */
interface EmptySearches { version: number, count: number, lastAt: number }

/**
 * Finds the predictions of all submissions whose answer was lost, on all instances: one instance at a time reads the
 * provider's list and changes the tasks. A prediction that is found is attached. A task without one is submitted again
 * after two complete searches, both later than its request can have arrived and than the list can lag behind.
 */
export class SubmissionSearch {
  #options
  #emptySearches = new Map<string, EmptySearches>()
  /** Candidates that were read: each is read once only. */
  #read = new LRUCache<string, FoundPrediction>({ max: maxRemembered })
  #failures = 0
  #wake: () => void = () => {}
  #isAwake = false
  #running: Promise<void> | undefined

  constructor (options: SubmissionSearchOptions) {
    this.#options = options
  }

  /** Searches until the signal is aborted. */
  start (): void {
    this.#running ??= this.#run()
  }

  /** Notifies the search that a submission has become ambiguous. Returns at once. */
  wake (): void {
    this.#isAwake = true
    this.#wake()
  }

  /** Resolves when the search has ended, after the signal was aborted; another instance continues at once. */
  async stop (): Promise<void> {
    await this.#running
    await this.#options.taskStore.releaseLease('search').catch((err: unknown) => {
      this.#options.log.debug({ err }, 'The lease of the search could not be released; it expires')
    })
  }

  async #run (): Promise<void> {
    const { signal, log } = this.#options
    while (!signal.aborted) {
      const delayMs = await this.#search().catch((err: unknown) => {
        if (!signal.aborted && this.#failures === 0) log.warn({ err }, 'Could not search for predictions; searching again')
        return this.#delayAfterFailure()
      })
      await this.#pause(delayMs)
    }
  }

  /** Ends early when it is woken, but still collects the submissions that become ambiguous at the same time. */
  async #pause (ms: number): Promise<void> {
    if (!this.#isAwake) await this.#waitForWake(ms)
    if (this.#isAwake) await wait(Math.min(ms, minIntervalMs), this.#options.signal).catch(() => undefined)
    this.#isAwake = false
  }

  /** Not by `AbortSignal.any`: the signal of the stop would keep a reference for every wait. */
  #waitForWake (ms: number): Promise<void> {
    const { signal } = this.#options
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        this.#wake = () => {}
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal.addEventListener('abort', end)
      this.#wake = end
      if (signal.aborted) end()
    })
  }

  #delayAfterFailure (): number {
    return backoffDelay(this.#failures++, searchBackoff)
  }

  /** @returns ms until the next search */
  async #search (): Promise<number> {
    const { taskStore, now } = this.#options
    const hasLease = await taskStore.acquireLease('search', leaseTtlMs)
    const open = hasLease ? await this.#loadSubmissions() : []
    const searched = open.filter(({ state }) => state !== 'awaiting_answer')
    if (searched.length === 0) {
      this.#emptySearches.clear()
      this.#failures = 0
      return intervalMs
    }
    const searchedAt = now()
    const listing = await listAroundSubmissions(searched, this.#options)
    // The rows are read after the list: the row that asked for a listed prediction was committed before.
    const { matches, unwanted, tasks } = await this.#match(listing)
    await this.#cancelUnwanted(unwanted, tasks)
    for (const [taskId, match] of matches) await this.#resolve(tasks.get(taskId), match, listing, searchedAt)
    if (listing.failure !== undefined) {
      this.#options.log.debug({ provider_status: listing.failure.status }, 'The list of predictions could not be read to its end; reading it again')
      return this.#delayAfterFailure()
    }
    this.#failures = 0
    return searched.some(({ state }) => state === 'in_doubt') ? intervalMs : canceledIntervalMs
  }

  async #loadSubmissions (): Promise<Array<OpenSubmission & { task: Task }>> {
    const { taskStore, providerClock, replicate, now, signal } = this.#options
    const tasks = await taskStore.listUnresolvedSubmissions(now())
    if (tasks.length > 0 && providerClock.now() === null) await replicate.account({ signal })
    return tasks.flatMap((task) => this.#toOpenSubmission(task))
  }

  #toOpenSubmission (task: Task): Array<OpenSubmission & { task: Task }> {
    const { submission } = task
    if (submission === null) return []
    const arrivalMs = this.#arrivalMs(submission.isAmbiguous)
    const isInDoubt = submission.isAmbiguous || this.#age(task) >= arrivalMs
    const open = { taskId: task.id, task, submission, startedAt: this.#providerTime(submission), arrivalMs }
    if (task.state === 'submitting') return [{ ...open, state: isInDoubt ? 'in_doubt' : 'awaiting_answer' }]
    // Without a webhook or a seed, the prediction of a canceled task cannot be told from another one.
    return submission.webhook !== null || 'seed' in submission.input ? [{ ...open, state: 'canceled' }] : []
  }

  /** The sender of an ambiguous submission sends nothing more; any other can still send while its intent is valid. */
  #arrivalMs (isAmbiguous: boolean): number {
    const { createTimeoutMs, intentTtlMs } = this.#options
    return isAmbiguous ? createTimeoutMs : createTimeoutMs + intentTtlMs
  }

  #age ({ submission }: Task): number {
    return this.#options.now() - (submission?.startedAt ?? 0)
  }

  #providerTime ({ startedAt, providerStartedAt }: { startedAt: number, providerStartedAt: number | null }): number {
    const { providerClock, now } = this.#options
    return providerStartedAt ?? startedAt + (providerClock.now() ?? now()) - now()
  }

  async #match (listing: Listing) {
    const { taskStore } = this.#options
    const open = await this.#loadSubmissions()
    const owners = await taskStore.findPredictionOwners(listing.predictions.map(({ id }) => id))
    const free = listing.predictions.filter(({ id }) => !owners.has(id))
    const candidates = await this.#loadCandidates(free, open)
    return { ...matchSubmissions(open, candidates), tasks: new Map(open.map(({ task }) => [task.id, task])) }
  }

  /** Reads the candidates that the list does not show whole. A failed read delays its own candidate only. */
  async #loadCandidates (listed: Prediction[], open: OpenSubmission[]): Promise<Candidate[]> {
    const useful = listed.map((prediction) => this.#toCandidate(prediction)).filter((candidate) => open.some((one) => isWorthReading(candidate, one)))
    const toRead = useful.filter((candidate) => !candidate.isRead)
    await Promise.all(Array.from({ length: maxReadsAtOnce }, async () => {
      for (let candidate = toRead.shift(); candidate !== undefined; candidate = toRead.shift()) await this.#readCandidate(candidate)
    }))
    return useful.map(({ prediction }) => this.#toCandidate(prediction))
  }

  #toCandidate (prediction: FoundPrediction): Candidate {
    const read = this.#read.get(prediction.id)
    // The request of a prediction never changes; its status is newer in the list.
    if (read !== undefined) return { prediction: { ...read, status: prediction.status }, isRead: true }
    return { prediction, isRead: prediction.webhook !== null && prediction.input !== null }
  }

  async #readCandidate ({ prediction: { id } }: Candidate): Promise<void> {
    const { replicate, signal } = this.#options
    const read = await replicate.get(id, { signal })
    if (read.outcome !== 'found') return
    const { status, model, version, input, source, webhook, createdAt, dataRemoved } = read.prediction
    this.#read.set(id, { id, status, model, version, input, source, webhook, createdAt, dataRemoved })
  }

  /** The prediction of a canceled task only costs money. */
  async #cancelUnwanted (unwanted: Array<{ taskId: string, prediction: FoundPrediction }>, tasks: Map<string, Task>): Promise<void> {
    const { taskStore, replicate, log, signal } = this.#options
    for (const { taskId, prediction: { id } } of unwanted) {
      const { outcome } = await replicate.cancel(id, { signal })
      log.info({ task_id: taskId, prediction_id: id, outcome }, 'Asked Replicate to cancel a prediction')
      // The owner is stored afterwards, so that a cancel which did not reach Replicate is repeated.
      if (outcome !== 'unavailable' && tasks.has(taskId)) await taskStore.recordPredictionOwner(id, taskId)
    }
  }

  async #resolve (task: Task | undefined, match: Match, listing: Listing, searchedAt: number): Promise<void> {
    if (task === undefined) return
    if (match.outcome === 'found') return this.#attach(task, match.prediction)
    if (match.outcome === 'undecided' || !this.#isConfirmed(task, listing, searchedAt)) return
    if (match.outcome === 'wiped') return this.#transition(task, { type: 'fail', failure: 'submission_unknown' }, 'The prediction of a task cannot be recognised any more')
    if (match.unlikely !== undefined) return this.#attach(task, match.unlikely)
    return this.#transition(task, { type: 'requeue', waitingFor: null }, 'Replicate has created no prediction for the task; submitting it again')
  }

  #attach (task: Task, { id, createdAt }: FoundPrediction): Promise<void> {
    return this.#transition(task, { type: 'attach_prediction', predictionId: id, predictionCreatedAt: createdAt }, 'Prediction found')
  }

  /** After a lost race against another instance or a client, the next search sees the new state. */
  async #transition (task: Task, transition: Transition, message: string): Promise<void> {
    const { taskStore, log } = this.#options
    const { outcome } = await taskStore.applyTransition(task, transition)
    if (outcome === 'applied') log.info({ task_id: task.id, ...(transition.type === 'attach_prediction' && { prediction_id: transition.predictionId }) }, message)
  }

  /** Whether enough searches have found nothing to be sure that there is no prediction. */
  #isConfirmed (task: Task, listing: Listing, searchedAt: number): boolean {
    const { submission, version } = task
    if (submission === null || !listing.covers(task.id)) return false
    const arrivalMs = this.#arrivalMs(submission.isAmbiguous)
    // A list that shows predictions from after the last possible arrival of the request does not lag.
    const isCurrent = (listing.newestCreatedAt ?? 0) > this.#providerTime(submission) + arrivalMs
    const certainFrom = submission.startedAt + (isCurrent ? arrivalMs : Math.max(arrivalMs, this.#options.listLagMs))
    if (searchedAt < certainFrom) return false
    const known = this.#emptySearches.get(task.id)
    const before = known?.version === version ? known : { count: 0, lastAt: -Infinity }
    const isApart = performance.now() - before.lastAt >= intervalMs / 2
    const searches = isApart ? { version, count: before.count + 1, lastAt: performance.now() } : { ...before, version }
    this.#emptySearches.set(task.id, searches)
    return searches.count >= confirmations
  }
}

/** Whether the candidate can belong to the submission, by its creation time and the members that it shows. */
function isWorthReading (candidate: Candidate, { submission, startedAt, arrivalMs }: OpenSubmission): boolean {
  const { createdAt } = candidate.prediction
  const isNear = createdAt === null || (createdAt >= startedAt - maxSkewMs && createdAt <= startedAt + arrivalMs + maxSkewMs)
  return isNear && canMatch(candidate, submission)
}
