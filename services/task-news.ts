import { randomUUID } from 'node:crypto'
import type { Log } from './log.ts'
import type { Database, PostgresDatabase } from './postgres-database.ts'

/**
 * `changed`: these tasks have moved, here or elsewhere. `prompted`: whoever holds these should look at their predictions now. `gap`: news
 * may have been missed.
 */
export type TaskNews =
  | { kind: 'changed', taskIds: string[], isOwn: boolean }
  | { kind: 'prompted', taskIds: string[] }
  | { kind: 'gap' }

const channel = 'dreamreel_tasks'
/** A payload has to stay below 8,000 bytes. */
const idsInPayload = 200

/** Tells the other instances, and hears from them, through LISTEN and NOTIFY: never more than a hint to read again. */
export class TaskNewsChannel {
  #database
  #log
  #self = randomUUID()
  #listening: { close (): Promise<void> } | undefined

  constructor (database: PostgresDatabase, log: Log) {
    this.#database = database
    this.#log = log
  }

  /** @param hear is called with the news of other instances, never with this one's own */
  async listen (hear: (news: TaskNews) => void): Promise<void> {
    const db = this.#database.boss.getDb()
    if (db.listen === undefined) throw new Error('This version of pg-boss does not listen')
    this.#listening = await db.listen(channel, (payload) => this.#receive(payload, hear), () => hear({ kind: 'gap' }))
  }

  /** In the transaction that makes the change: it is heard when that is committed. */
  async tell (db: Pick<Database, 'executeSql'>, kind: 'changed' | 'prompted', taskIds: string[]): Promise<void> {
    for (let start = 0; start < taskIds.length; start += idsInPayload) {
      const payload = [this.#self, kind, ...taskIds.slice(start, start + idsInPayload)].join(',')
      await db.executeSql('select pg_notify($1, $2)', [channel, payload])
    }
  }

  async close (): Promise<void> {
    await this.#listening?.close()
  }

  #receive (payload: string, hear: (news: TaskNews) => void): void {
    const [from, kind, ...taskIds] = payload.split(',')
    if (from === this.#self) return
    if (kind === 'changed') hear({ kind, taskIds, isOwn: false })
    else if (kind === 'prompted') hear({ kind, taskIds })
    else this.#log.debug({ kind }, 'News of a kind that this release does not know')
  }
}
