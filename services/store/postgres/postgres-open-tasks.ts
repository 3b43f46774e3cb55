import { createHash } from 'node:crypto'
import type { Task } from '../../tasks/task.ts'
import { findReachedCap, type OpenTaskCaps, type TooManyOpenTasks } from '../open-task-caps.ts'
import { openCondition } from '../task-conditions.ts'
import type { Row } from './postgres-database.ts'
import type { Database } from './postgres-transaction.ts'

export interface CappedInsert { task: Task, caps: OpenTaskCaps }

export interface AdmittedTasks {
  admitted: Task[]
  /** by the ids of the other tasks */
  refused: Map<string, TooManyOpenTasks>
}

/** The open tasks without those that are to be inserted: a transaction that is repeated may find its own tasks. */
interface Counts { inAll: number, ofKeys: Map<string | null, number>, existing: Set<string> }

/** The lock of all tasks and those of API keys are the second numbers of advisory locks with this first number, which is arbitrary. */
const lockClass = 430_200_712
const lockOfAll = 0
/**
 * So far below a cap, transactions do not wait for each other. They do not see each other’s tasks then: a cap is exceeded only if more
 * tasks than this are created while one transaction runs.
 */
const unlockedMargin = 2_000

const newestOfKey = 'order by key_name desc, start_tag desc'
/** Counts entries of indexes, up to a maximum for each number. */
const countQuery = `select 'all' as kind, null::text as name,
    (select count(*) from (select from task where ${openCondition} order by deadline_at limit $2) counted) as tasks
  union all select 'key', null, (select count(*) from (select from task where ${openCondition} and key_name is null ${newestOfKey} limit $3) counted)
  union all select 'key', name, (select count(*) from (select from task where ${openCondition} and key_name = name ${newestOfKey} limit max_tasks) counted)
    from unnest($4::text[], $5::bigint[]) capped (name, max_tasks)
  union all select case when ${openCondition} then 'existing_open' else 'existing' end, id::text, 1 from task where id = any($1::uuid[])`

/**
 * Decides which of these tasks may be inserted by the transaction. Near a cap it waits for the other transactions of all instances that
 * are near the same cap, and lets them wait until it ends, so that together they do not exceed it.
 */
export async function admitWithinCaps (db: Database, inserts: CappedInsert[]): Promise<AdmittedTasks> {
  if (inserts.every(({ caps: { ofKey, inAll } }) => ofKey === null && inAll === null)) return { admitted: inserts.map(({ task }) => task), refused: new Map() }
  let counts = await countOpen(db, inserts)
  const locks = findLocks(inserts, counts)
  if (locks.length > 0) {
    await db.executeSql('select pg_advisory_xact_lock($1, lock) from unnest($2::int[]) lock', [lockClass, locks])
    counts = await countOpen(db, inserts)
  }
  return admit(inserts, counts)
}

async function countOpen (db: Database, inserts: CappedInsert[]): Promise<Counts> {
  const maxCount = (cap: number) => cap + 1 + inserts.length
  const capsOfKeys = maxCaps(inserts, ({ ofKey }) => ofKey)
  const named = [...capsOfKeys].flatMap(([name, cap]) => name === null ? [] : [{ name, max: maxCount(cap) }])
  const inAll = Math.max(...maxCaps(inserts, ({ inAll }) => inAll).values(), -1)
  const { rows } = await db.executeSql(countQuery, [
    inserts.map(({ task }) => task.id), inAll === -1 ? 0 : maxCount(inAll), capsOfKeys.has(null) ? maxCount(capsOfKeys.get(null) ?? 0) : 0,
    named.map(({ name }) => name), named.map(({ max }) => max)
  ])
  return toCounts(rows, inserts)
}

/** The boundary where rows become typed. */
function toCounts (rows: Row[], inserts: CappedInsert[]): Counts {
  const isExisting = ({ kind }: Row) => kind === 'existing' || kind === 'existing_open'
  const ownOpen = new Set(rows.filter(({ kind }) => kind === 'existing_open').map(({ name }) => name))
  const own = inserts.filter(({ task }) => ownOpen.has(task.id)).map(({ task }) => task.keyName)
  const ofKeys = rows.filter(({ kind }) => kind === 'key').map((row) => ({ name: row.name as string | null, tasks: Number(row.tasks) }))
  return {
    inAll: Number(rows.find(({ kind }) => kind === 'all')?.tasks ?? 0) - own.length,
    ofKeys: new Map(ofKeys.map(({ name, tasks }) => [name, tasks - own.filter((keyName) => keyName === name).length])),
    existing: new Set(rows.filter(isExisting).map(({ name }) => String(name)))
  }
}

/** The highest cap of each key that has one. Those of one key differ only while its entry is being changed. */
function maxCaps (inserts: CappedInsert[], capOf: (caps: OpenTaskCaps) => number | null): Map<string | null, number> {
  const caps = new Map<string | null, number>()
  for (const { task: { keyName }, caps: own } of inserts) {
    const cap = capOf(own)
    if (cap !== null) caps.set(keyName, Math.max(cap, caps.get(keyName) ?? 0))
  }
  return caps
}

/** The locks of the caps that are near, in ascending order, so that two transactions never wait for each other. */
function findLocks (inserts: CappedInsert[], { inAll, ofKeys }: Counts): number[] {
  const isNear = (cap: number | null, count: number): boolean => cap !== null && count + inserts.length > cap - unlockedMargin
  const locks = inserts.flatMap(({ task: { keyName }, caps }) => [
    ...isNear(caps.inAll, inAll) ? [lockOfAll] : [],
    ...isNear(caps.ofKey, ofKeys.get(keyName) ?? 0) ? [lockOfKey(keyName)] : []
  ])
  return [...new Set(locks)].sort((a, b) => a - b)
}

/** Two keys with the same number only wait for each other without need. */
function lockOfKey (keyName: string | null): number {
  return createHash('sha256').update(keyName ?? '').digest().readInt32BE()
}

function admit (inserts: CappedInsert[], { inAll, ofKeys, existing }: Counts): AdmittedTasks {
  const counts = { inAll, ofKeys: new Map(ofKeys) }
  const outcome: AdmittedTasks = { admitted: [], refused: new Map() }
  for (const { task, caps } of inserts) {
    const ofKey = counts.ofKeys.get(task.keyName) ?? 0
    // A task that is stored already was admitted by an attempt whose answer was lost.
    const reached = existing.has(task.id) ? undefined : findReachedCap(caps, { ofKey, inAll: counts.inAll })
    if (reached !== undefined) {
      outcome.refused.set(task.id, reached)
      continue
    }
    outcome.admitted.push(task)
    counts.inAll++
    counts.ofKeys.set(task.keyName, ofKey + 1)
  }
  return outcome
}
