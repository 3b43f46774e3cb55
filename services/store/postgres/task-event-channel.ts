import { randomUUID } from 'node:crypto'
import { backoffDelay, wait } from '../../runtime/backoff.ts'
import type { Log } from '../../runtime/log.ts'
import type { TaskEvent } from '../task-event.ts'
import type { PostgresDatabase } from './postgres-database.ts'

const channel = 'dreamreel_tasks'
/** A payload has to stay below 8,000 bytes. */
const maxIdsInPayload = 200
/** More than this waits only while the database is away: from there on one message stands for all of them. */
const maxPendingIds = 10_000
const retry = { firstMs: 200, maxMs: 10_000 }
/** How long a store that closes waits for its last news to be sent. */
const finalPublishMs = 2_000

type PublishedKind = 'changed' | 'poll_requested'

/**
 * Tells the other instances, and hears from them, through LISTEN and NOTIFY: never more than a hint to read again. A
 * process that dies takes the news along that it has not sent. The net below: `TaskSubscriptions.look` reads every awaited
 * task each 15 s, a search waits for 2 s at most before it reads its task again, and predictions are read at each poll, at
 * the latest a minute apart where there are webhooks; a holder moves only what is still as it knows it.
 */
export class TaskEventChannel {
  #database
  #log
  #instanceId = randomUUID()
  #listening: { close (): Promise<void> } | undefined
  #pending: Record<PublishedKind, Set<string>> = { changed: new Set(), poll_requested: new Set() }
  /** More has happened than can wait: receivers read everything. */
  #hasOverflowed = false
  #sending: Promise<void> | undefined
  #closing = new AbortController()

  constructor (database: Pick<PostgresDatabase, 'boss' | 'query'>, log: Log) {
    this.#database = database
    this.#log = log
  }

  /** @param onEvent is called with the news of other instances, never with this one's own */
  async listen (onEvent: (news: TaskEvent) => void): Promise<void> {
    const db = this.#database.boss.getDb()
    if (db.listen === undefined) throw new Error('This version of pg-boss does not listen')
    this.#listening = await db.listen(channel, (payload) => this.#receive(payload, onEvent), () => onEvent({ kind: 'resync' }))
  }

  /** After the change was committed. Returns at once; all that is announced in one turn of the event loop is one statement. */
  publish (kind: PublishedKind, taskIds: string[]): void {
    for (const taskId of taskIds) this.#pending[kind].add(taskId)
    if (this.#pending.changed.size + this.#pending.poll_requested.size > maxPendingIds) this.#hasOverflowed = true
    this.#sending ??= this.#sendAll()
      .catch((err: unknown) => this.#log.warn({ err }, 'News for the other instances could not be sent; they read again by themselves'))
      .finally(() => { this.#sending = undefined })
  }

  /** Sends what still waits, for a moment. */
  async close (): Promise<void> {
    const giveUp = setTimeout(() => this.#closing.abort(new Error('The store is closing')), finalPublishMs)
    await this.#sending
    clearTimeout(giveUp)
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
        if (failures === 0) this.#log.debug({ err }, 'News for the other instances wait for the database')
        await wait(backoffDelay(failures++, retry), this.#closing.signal)
      }
    }
  }

  #takePayloads (): string[] {
    const isTooMuch = this.#hasOverflowed
    const payloads = isTooMuch ? [[this.#instanceId, 'all'].join(',')] : Object.entries(this.#pending).flatMap(([kind, ids]) => this.#buildPayloads(kind, Array.from(ids)))
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

  #receive (payload: string, hear: (news: TaskEvent) => void): void {
    const [from, kind, ...taskIds] = payload.split(',')
    if (from === this.#instanceId) return
    if (kind === 'changed') hear({ kind, taskIds, isLocal: false })
    else if (kind === 'poll_requested') hear({ kind, taskIds })
    else if (kind === 'all') hear({ kind: 'resync' })
    else this.#log.debug({ kind }, 'News of a kind that this release does not know')
  }
}
