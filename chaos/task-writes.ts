import { DatabaseSync, StatementSync } from 'node:sqlite'
import pg from 'pg'

/** Columns of a task's row after a transition. */
export interface TaskWrite { state: unknown, callback_url: unknown }

export interface TaskWriteListener {
  /** before the database gets the statement */
  requested: (write: TaskWrite) => void
  /** when the database has committed it, before the service is notified of that */
  committed: (write: TaskWrite) => void
}

type Query = (this: pg.Client, ...parameters: unknown[]) => unknown

export function onTaskWrite (listener: TaskWriteListener): void {
  watchSqlite(listener)
  watchPostgres(listener)
}

/** The process has one connection, and each of its transactions begins and ends in the same turn of the event loop. */
function watchSqlite ({ requested, committed }: TaskWriteListener): void {
  const { run } = StatementSync.prototype
  const { exec } = DatabaseSync.prototype
  let writes: TaskWrite[] = []
  StatementSync.prototype.run = function (this: StatementSync, ...parameters: unknown[]) {
    if (isTransition(this.sourceSQL)) {
      const columns = this.sourceSQL.slice(transitionStart.length).split(', ')
      const valueOf = (name: string) => parameters[columns.findIndex((column) => column.startsWith(`${name} = ?`))]
      const write = { state: valueOf('state'), callback_url: valueOf('callback_url') }
      requested(write)
      writes.push(write)
    }
    return Reflect.apply(run, this, parameters)
  }
  DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
    Reflect.apply(exec, this, [sql])
    if (sql === 'commit') for (const write of writes) committed(write)
    writes = []
  }
}

/** On PostgreSQL one statement applies the transitions of many tasks: its first value has their rows as JSON. */
function watchPostgres ({ requested, committed }: TaskWriteListener): void {
  // The boundary: the type has one signature for each way to ask.
  const prototype = pg.Client.prototype as { query: Query }
  const { query } = prototype
  const writes = new WeakMap<pg.Client, TaskWrite[]>()
  prototype.query = function (...parameters) {
    const [text, values] = parameters
    const updated: TaskWrite[] = isTransition(text) && Array.isArray(values) ? JSON.parse(String(values[0])) : []
    for (const write of updated) requested(write)
    const answer = Reflect.apply(query, this, parameters)
    if (text === 'COMMIT') reportCommit(answer, writes.get(this) ?? [])
    writes.set(this, text === 'BEGIN' || text === 'COMMIT' ? [] : [...writes.get(this) ?? [], ...updated])
    return answer
  }

  function reportCommit (answer: unknown, updated: TaskWrite[]): void {
    Promise.resolve(answer).then(() => { for (const write of updated) committed(write) }, () => {})
  }
}

const transitionStart = 'update task set '

function isTransition (text: unknown): boolean {
  return typeof text === 'string' && text.startsWith(transitionStart)
}
