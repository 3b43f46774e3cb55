import { randomUUID } from 'node:crypto'
import { backoffDelay, wait } from '../../runtime/backoff.ts'
import type { Log } from '../../runtime/log.ts'
import type { TaskEvent } from '../task-event.ts'
import type { PostgresDatabase } from './postgres-database.ts'

const channel = 'dreamreel_tasks'
/** PostgreSQL limits the payload of a NOTIFY to less than 8,000 bytes. */
const maxIdsInPayload = 200
/** More ids wait only while the database is unavailable. One message then asks the other instances to read everything again. */
const maxPendingIds = 10_000
const retry = { firstMs: 200, maxMs: 10_000 }
/** How long a store that is closing waits for its last events to be sent. */
const finalPublishMs = 2_000

type PublishedKind = 'changed' | 'poll_requested'

/**
 * Publishes task events to the other instances and receives theirs, through LISTEN and NOTIFY. An event is only a hint to
 * read a task again. Events can be lost, for example when a process dies before it has sent them, so there are fallbacks:
 * `TaskSubscriptions.poll` reads every task with subscribers every 15 s, an instance that resolves an ambiguous submission
 * reads its task again every 2 s, and predictions are read at each poll, less often with webhooks. A transition of a task
 * that has changed in the meantime is not applied, because it is a compare-and-set.
 */
export class TaskEventChannel {
  #database
  #log
  #instanceId = randomUUID()
  #listening: { close (): Promise<void> } | undefined
  #pending: Record<PublishedKind, Set<string>> = { changed: new Set(), poll_requested: new Set() }
  /** Too many ids were waiting: the receivers have to read everything again. */
  #hasOverflowed = false
  #sending: Promise<void> | undefined
  #closing = new AbortController()

  constructor (database: Pick<PostgresDatabase, 'boss' | 'query'>, log: Log) {
    this.#database = database
    this.#log = log
  }

  /** @param onEvent is called with the events of other instances, never with those of this one */
  async listen (onEvent: (event: TaskEvent) => void): Promise<void> {
    const db = this.#database.boss.getDb()
    if (db.listen === undefined) throw new Error('This version of pg-boss does not support LISTEN')
    this.#listening = await db.listen(channel, (payload) => this.#receive(payload, onEvent), () => onEvent({ kind: 'resync' }))
  }

  /** Call it after the commit of the change. It returns at once; one statement sends all events of one turn of the event loop. */
  publish (kind: PublishedKind, taskIds: string[]): void {
    for (const taskId of taskIds) this.#pending[kind].add(taskId)
    if (this.#pending.changed.size + this.#pending.poll_requested.size > maxPendingIds) this.#hasOverflowed = true
    this.#sending ??= this.#sendAll()
      .catch((err: unknown) => this.#log.warn({ err }, 'Events could not be sent to the other instances; they will notice the changes at their next poll'))
      .finally(() => { this.#sending = undefined })
  }

  /** Tries for 2 s to send the events that are still waiting. */
  async close (): Promise<void> {
    const timer = setTimeout(() => this.#closing.abort(new Error('The store is closing')), finalPublishMs)
    await this.#sending
    clearTimeout(timer)
    await this.#listening?.close()
  }

  async #sendAll (): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    for (let failures = 0; ;) {
      const payloads = this.#takePayloads()
      if (payloads.length === 0) return
      try {
        await this.#database.query('select pg_notify($1, payload) from unnest($2::text[]) payload', [channel, payloads])
        failures = 0
      } catch (err) {
        this.#restore(payloads)
        if (failures === 0) this.#log.debug({ err }, 'Events for the other instances wait until the database is available')
        await wait(backoffDelay(failures++, retry), this.#closing.signal)
      }
    }
  }

  #takePayloads (): string[] {
    const payloads = this.#hasOverflowed ? [[this.#instanceId, 'all'].join(',')] : Object.entries(this.#pending).flatMap(([kind, ids]) => this.#buildPayloads(kind, Array.from(ids)))
    this.#hasOverflowed = false
    for (const ids of Object.values(this.#pending)) ids.clear()
    return payloads
  }

  #buildPayloads (kind: string, taskIds: string[]): string[] {
    const groups = Array.from({ length: Math.ceil(taskIds.length / maxIdsInPayload) }, (_, group) => taskIds.slice(group * maxIdsInPayload, (group + 1) * maxIdsInPayload))
    return groups.map((group) => [this.#instanceId, kind, ...group].join(','))
  }

  #restore (payloads: string[]): void {
    for (const payload of payloads) {
      const [, kind, ...taskIds] = payload.split(',')
      if (kind === 'changed' || kind === 'poll_requested') for (const taskId of taskIds) this.#pending[kind].add(taskId)
      else this.#hasOverflowed = true
    }
  }

  #receive (payload: string, onEvent: (event: TaskEvent) => void): void {
    const [from, kind, ...taskIds] = payload.split(',')
    if (from === this.#instanceId) return
    if (kind === 'changed') onEvent({ kind, taskIds, isLocal: false })
    else if (kind === 'poll_requested') onEvent({ kind, taskIds })
    else if (kind === 'all') onEvent({ kind: 'resync' })
    else this.#log.debug({ kind }, 'Ignored an event of a kind that this release does not know')
  }
}
