import { DatabaseSync, StatementSync } from 'node:sqlite'
import pg from 'pg'

/** Of the row that a move leaves behind. */
export interface TaskWrite { state: unknown, callback_url: unknown }

export interface TaskWriteListener {
  /** before the database hears of it */
  asked: (write: TaskWrite) => void
  /** when the database has committed it, before the service hears of that */
  committed: (write: TaskWrite) => void
}

type Query = (this: pg.Client, ...parameters: unknown[]) => unknown

export function onTaskWrite (listener: TaskWriteListener): void {
  watchSqlite(listener)
  watchPostgres(listener)
}

/** The process has one connection, and each of its transactions begins and ends in the same turn. */
function watchSqlite ({ asked, committed }: TaskWriteListener): void {
  const { run } = StatementSync.prototype
  const { exec } = DatabaseSync.prototype
  let writes: TaskWrite[] = []
  StatementSync.prototype.run = function (this: StatementSync, ...parameters: unknown[]) {
    if (isMove(this.sourceSQL)) {
      const columns = this.sourceSQL.slice(moveStart.length).split(', ')
      const valueOf = (name: string) => parameters[columns.findIndex((column) => column.startsWith(`${name} = ?`))]
      const write = { state: valueOf('state'), callback_url: valueOf('callback_url') }
      asked(write)
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

/** There one statement moves many tasks: the first value has their rows, as JSON. */
function watchPostgres ({ asked, committed }: TaskWriteListener): void {
  // The boundary: the type has one signature for each way to ask.
  const prototype = pg.Client.prototype as { query: Query }
  const { query } = prototype
  const writes = new WeakMap<pg.Client, TaskWrite[]>()
  prototype.query = function (...parameters) {
    const [text, values] = parameters
    const moved: TaskWrite[] = isMove(text) && Array.isArray(values) ? JSON.parse(String(values[0])) : []
    for (const write of moved) asked(write)
    const answer = Reflect.apply(query, this, parameters)
    if (text === 'COMMIT') tellOf(answer, writes.get(this) ?? [])
    writes.set(this, text === 'BEGIN' || text === 'COMMIT' ? [] : [...writes.get(this) ?? [], ...moved])
    return answer
  }

  function tellOf (answer: unknown, moved: TaskWrite[]): void {
    Promise.resolve(answer).then(() => { for (const write of moved) committed(write) }, () => {})
  }
}

const moveStart = 'update task set '

function isMove (text: unknown): boolean {
  return typeof text === 'string' && text.startsWith(moveStart)
}
