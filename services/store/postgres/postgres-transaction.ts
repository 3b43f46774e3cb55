import type { PgBoss } from 'pg-boss'
import { isRolledBack, never } from './database-retry.ts'

/** A connection, or the transaction that it is in. */
export type Database = ReturnType<PgBoss['getDb']>

/** What is known of the commits of a transaction that may be tried more than once. */
export interface CommitState {
  /** A commit has no answer yet. */
  isUnderWay: boolean
  /** The answer to a commit was lost: it may have happened. */
  wasLost: boolean
}

/** @param signal aborted when the result is not waited for any longer: the transaction is rolled back then */
export async function inTransaction<T> (db: Database, work: (db: Database) => Promise<T>, signal = never, commits?: CommitState): Promise<T> {
  if (db.beginTransaction === undefined) throw new Error('This version of pg-boss has no transactions')
  const transaction = await db.beginTransaction()
  try {
    const result = await work(transaction.db)
    signal.throwIfAborted()
    await commit(transaction, commits)
    return result
  } catch (error) {
    await transaction.rollback()
    throw error
  }
}

async function commit (transaction: { commit: () => Promise<void> }, commits: CommitState = { isUnderWay: false, wasLost: false }): Promise<void> {
  commits.isUnderWay = true
  try {
    await transaction.commit()
  } catch (error) {
    commits.wasLost ||= !isRolledBack(error)
    throw error
  } finally {
    commits.isUnderWay = false
  }
}
