import { LRUCache } from 'lru-cache'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { Task } from '../../tasks/task.ts'
import type { OpenTags } from '../fair-order.ts'
import { activityCount, endedCondition, expiryBounds, keepsFilesCondition, openCondition, openSummary, queuedCondition, submittedCondition, unresolvedCondition } from '../task-conditions.ts'
import { rowToOpenTasks, rowToTask, rowToTaskCount, taskColumns, taskToRow, type TaskRow } from '../task-row.ts'
import type { OpenTasks, TaskCount, TaskListQuery } from '../task-store.ts'

export type SqliteTaskRow = TaskRow & { seq: number }

/** A place in the order in which queued tasks are claimed. */
export interface QueuePosition { startTag: number, seq: number }

/** Building a task from its row costs ten times as much as reading it from memory. This many of the longest dreams are 10 MB. */
const maxCachedTasks = 1_000
/** A transition changes no other column, so the entries of most indexes stay as they are. */
const changingColumns = taskColumns.filter((column) => !['id', 'dream', 'style', 'created_at', 'deadline_at', 'origin', 'key_name', 'traceparent', 'start_tag'].includes(column))
/** Sorts after every id. */
const afterAllIds = '~'

/** The table `task` and its SQL. Every method throws what SQLite throws. */
export class SqliteTaskTable {
  #database
  #statements
  #lists = new Map<string, StatementSync>()
  /** Tasks as they are on disk. No other process writes to the file, and each write here removes its task from the cache. */
  #cache = new LRUCache<string, Task>({ max: maxCachedTasks })

  constructor (database: DatabaseSync) {
    this.#database = database
    const prepare = (sql: string): StatementSync => database.prepare(sql)
    this.#statements = {
      insert: prepare(`insert into task (${taskColumns.join(', ')}) values (${taskColumns.map(() => '?').join(', ')})`),
      update: prepare(`update task set ${changingColumns.map((name) => `${name} = ?`).join(', ')} where id = ? and version = ?`),
      remove: prepare('delete from task where id = ? and version = ?'),
      get: prepare('select * from task where id = ?'),
      queued: prepare(`select id, start_tag, seq from task where ${queuedCondition} and (start_tag, seq) > (?, ?) order by start_tag, seq`),
      openTags: prepare(`select (select start_tag from task where ${submittedCondition} order by start_tag desc limit 1) as submitted,
        (select start_tag from task where ${queuedCondition} order by start_tag limit 1) as queued,
        (select start_tag from task where ${openCondition} and key_name is ? order by start_tag desc limit 1) as of_key`),
      countOpen: prepare(`select count(*) as tasks from task where ${openCondition}`),
      countOpenOfKey: prepare(`select count(*) as tasks from task where ${openCondition} and key_name is ?`),
      openSummary: prepare(openSummary.replace('$1', '?')),
      activityCount: prepare(activityCount('?1', '?2')),
      overdue: prepare(`select * from task where ${openCondition} and deadline_at <= ? order by deadline_at`),
      // SQLite would choose the index of prediction_id, and read every queued task.
      submitted: prepare(`select id from task where state in ('generating', 'storing')
        union all select id from task indexed by task_unresolved where submission is not null and prediction_id is null and state = 'submitting'`),
      generating: prepare("select * from task where state = 'generating'"),
      byFileName: prepare('select id from task where video_name = ?1 union all select id from task where poster_name = ?1'),
      keepsFile: prepare(`select 1 from task where video_name = ?1 and ${keepsFilesCondition}
        union all select 1 from task where poster_name = ?1 and ${keepsFilesCondition}`),
      videoWork: prepare('select * from task where video_work is not null and id > ? order by id limit ?'),
      expired: prepare(`select * from task where ${endedCondition} and updated_at <= ? and (callback_url is null or updated_at <= ?)
        and deadline_at <= ? order by updated_at limit ?`),
      unresolved: prepare(`select * from task indexed by task_unresolved where ${unresolvedCondition} and deadline_at > ?`)
    }
  }

  insert (task: Task): void {
    this.#statements.insert.run(...toValues(task, taskColumns))
  }

  load (id: string): Task | undefined {
    const cached = this.#cache.get(id)
    if (cached !== undefined) return cached
    const row = this.#statements.get.get(id)
    if (row === undefined) return undefined
    const task = rowToTask(asTaskRow(row))
    this.#cache.set(id, task)
    return task
  }

  loadByFileName (name: string): Task | undefined {
    const found = this.#statements.byFileName.get(name)
    return found === undefined ? undefined : this.load(String(found.id))
  }

  /** Whether a task that is being stored or has been completed has a file of this name. */
  keepsFile (name: string): boolean {
    return this.#statements.keepsFile.get(name) !== undefined
  }

  /** Does not use the cache: inside a transaction that is rolled back, nothing may be cached. */
  has (id: string): boolean {
    return this.#statements.get.get(id) !== undefined
  }

  /** @returns false if the task is no longer at `version`, and nothing was changed */
  update (task: Task, version: number): boolean {
    this.#cache.delete(task.id)
    return this.#statements.update.run(...toValues(task, changingColumns), task.id, version).changes === 1
  }

  /** @returns false if the task is no longer as given, and nothing was removed */
  remove ({ id, version }: Task): boolean {
    this.#cache.delete(id)
    return this.#statements.remove.run(id, version).changes === 1
  }

  list ({ status, style, keyName, before, limit }: TaskListQuery): Task[] {
    const filters = Object.entries({ key_name: keyName, status, style }).flatMap(([column, value]) => value === undefined ? [] : [{ column, value }])
    const statement = this.#prepareList(filters.map(({ column }) => column))
    return Array.from(iterateRows(statement, ...filters.map(({ value }) => value), before ?? afterAllIds, limit), rowToTask)
  }

  /** The ids of queued tasks in the order in which they are submitted, after this position. */
  * iterateQueued (after: QueuePosition): Generator<QueuePosition & { id: string }> {
    for (const { id, start_tag: startTag, seq } of this.#statements.queued.iterate(after.startTag, after.seq)) {
      yield { id: String(id), startTag: Number(startTag), seq: Number(seq) }
    }
  }

  /** What a new task of this API key needs for its place in the queue. */
  readOpenTags (keyName: string | null): OpenTags {
    const { submitted, queued, of_key: ofKey } = this.#statements.openTags.get(keyName) ?? {}
    return {
      highestSubmitted: numberOrNull(submitted), lowestQueued: numberOrNull(queued), highestOfKey: new Map(typeof ofKey === 'number' ? [[keyName, ofKey]] : [])
    }
  }

  /** Open tasks whose deadline is at or before `now`, the earliest deadline first. */
  iterateOverdue (now: number): Generator<SqliteTaskRow> {
    return iterateRows(this.#statements.overdue, now)
  }

  /** Only the ids: a caller that needs few of the tasks does not pay for all the rows. */
  * iterateSubmittedIds (): Generator<string> {
    for (const { id } of this.#statements.submitted.iterate()) yield String(id)
  }

  listGenerating (): Task[] {
    return Array.from(iterateRows(this.#statements.generating), rowToTask)
  }

  listUnresolvedSubmissions (now: number): Task[] {
    return Array.from(iterateRows(this.#statements.unresolved, now), rowToTask)
  }

  listVideoWork (after: string | undefined, limit: number): Task[] {
    return Array.from(iterateRows(this.#statements.videoWork, after ?? '', limit), rowToTask)
  }

  listExpired (retentionMs: number, now: number, limit: number): Task[] {
    return Array.from(iterateRows(this.#statements.expired, ...expiryBounds(retentionMs, now), now, limit), rowToTask)
  }

  summarizeOpen (limit: number): OpenTasks[] {
    return this.#statements.openSummary.all(limit).map(rowToOpenTasks)
  }

  countActivity (since: number, limit: number): TaskCount[] {
    return this.#statements.activityCount.all(since, limit).map(rowToTaskCount)
  }

  countOpen (): number {
    return Number(this.#statements.countOpen.get()?.tasks)
  }

  countOpenOfKey (keyName: string | null): number {
    return Number(this.#statements.countOpenOfKey.get(keyName)?.tasks)
  }

  clearCache (): void {
    this.#cache.clear()
  }

  /** One statement for each combination of filters: a single statement for all of them could not use their indexes. */
  #prepareList (columns: string[]): StatementSync {
    const sql = `select * from task where ${columns.map((column) => `${column} = ? and `).join('')}id < ? order by id desc limit ?`
    const statement = this.#lists.get(sql) ?? this.#database.prepare(sql)
    this.#lists.set(sql, statement)
    return statement
  }
}

function numberOrNull (value: unknown): number | null {
  return typeof value === 'number' ? value : null
}

function toValues (task: Task, columns: ReadonlyArray<keyof TaskRow>): SQLInputValue[] {
  const row = taskToRow(task)
  return columns.map((column) => row[column])
}

function * iterateRows (statement: StatementSync, ...parameters: SQLInputValue[]): Generator<SqliteTaskRow> {
  for (const row of statement.iterate(...parameters)) yield asTaskRow(row)
}

/** The boundary where a row becomes typed: the table is `strict`, and only this file writes to it. */
export function asTaskRow (row: unknown): SqliteTaskRow {
  return row as SqliteTaskRow
}
