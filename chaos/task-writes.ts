import { StatementSync } from 'node:sqlite'
import pg from 'pg'

type Listener = (stage: unknown) => void
type Query = (this: pg.Client, ...parameters: unknown[]) => unknown

/** Calls `listener` with the stage that a task is about to be given, before the database hears of it. */
export function onTaskWrite (listener: Listener): void {
  watchSqlite(listener)
  watchPostgres(listener)
}

function watchSqlite (listener: Listener): void {
  const { run } = StatementSync.prototype
  StatementSync.prototype.run = function (this: StatementSync, ...parameters: unknown[]) {
    if (isMove(this.sourceSQL)) listener(parameters[this.sourceSQL.slice(moveStart.length).split(', ').indexOf('stage = ?')])
    return Reflect.apply(run, this, parameters)
  }
}

/** There one statement moves many tasks: the first value has their rows, as JSON. */
function watchPostgres (listener: Listener): void {
  // The boundary: the type has one signature for each way to ask.
  const prototype = pg.Client.prototype as { query: Query }
  const { query } = prototype
  prototype.query = function (...parameters) {
    const [text, values] = parameters
    if (isMove(text) && Array.isArray(values)) for (const { stage } of JSON.parse(String(values[0]))) listener(stage)
    return Reflect.apply(query, this, parameters)
  }
}

const moveStart = 'update task set '

function isMove (text: unknown): boolean {
  return typeof text === 'string' && text.startsWith(moveStart)
}
