import { createHash } from 'node:crypto'
import type { Task } from '../tasks/task.ts'

/** 1 to 255 visible ASCII characters, bare or between quotes. */
export const idempotencyKeyPattern = '^(?:"[!-~]{1,255}"|(?!""$)[!-~]{1,255})$'
export const keyTtlMs = 24 * 60 * 60 * 1_000

/** A request that is to make one task however often it comes. */
export interface IdempotentRequest {
  /** Whose key it is; without API keys all callers share one scope. */
  scope: string
  key: string
  /** Tells this request from another one with the same key. */
  fingerprint: string
  /** the code of the first answer, given again with each replay */
  code: 200 | 202
}

/**
 * What became of it: `replayed` is the answer that the first one was given. `task_deleted`: the first one made a task that
 * has been deleted since; the key makes no second one, or a client that repeats its request would pay again.
 */
export type IdempotentOutcome =
  | { outcome: 'created' }
  | { outcome: 'replayed', taskId: string, code: 200 | 202 }
  | { outcome: 'key_reused' }
  | { outcome: 'task_deleted' }

/** A key, and whether the task that it made is still there. */
export interface StoredKey { row: KeyRow, hasTask: boolean }

export interface KeyRow { scope: string, key: string, fingerprint: string, task_id: string, code: 200 | 202, created_at: number }

/** A quoted key and a bare one are the same. */
export function unquoteKey (header: string): string {
  return /^"(.+)"$/.exec(header)?.[1] ?? header
}

/** Of what a request asks for; a request with nobody to call back has no third part. */
export function fingerprintRequest ({ dream, style, callbackUrl }: Pick<Task, 'dream' | 'style' | 'callbackUrl'>): string {
  const parts = callbackUrl === null ? [dream, style] : [dream, style, callbackUrl]
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}

export function toKeyRow ({ scope, key, fingerprint, code }: IdempotentRequest, taskId: string, now: number): KeyRow {
  return { scope, key, fingerprint, task_id: taskId, code, created_at: now }
}

/** What a key that exists already means for a request. */
export function compareWithStoredKey ({ row, hasTask }: StoredKey, { fingerprint }: IdempotentRequest): IdempotentOutcome {
  if (row.fingerprint !== fingerprint) return { outcome: 'key_reused' }
  return hasTask ? { outcome: 'replayed', taskId: row.task_id, code: row.code } : { outcome: 'task_deleted' }
}
