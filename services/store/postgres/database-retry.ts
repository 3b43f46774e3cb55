import { backoffDelay, wait } from '../../runtime/backoff.ts'
import { StoreUnavailableError } from '../store-errors.ts'

/** How long a request waits for a database that is unavailable or does not answer. */
export const requestTimeoutMs = 5_000

const backoff = { firstMs: 100, maxMs: 1_000 }

export const never = new AbortController().signal

export interface RetryOptions {
  /** ms after which the last failure is final */
  timeoutMs?: number
  /** called before each wait */
  onRetry?: (error: unknown) => void
}

/**
 * Does `work`, and again after a wait while it fails with an error that `isRetryable`.
 * @throws StoreUnavailableError where the database fails for another reason or for too long; any other error as it is
 */
export async function withRetry<T> (work: () => Promise<T>, { timeoutMs = requestTimeoutMs, onRetry = () => {} }: RetryOptions = {}): Promise<T> {
  const endsAt = performance.now() + timeoutMs
  for (let attempt = 0; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      const leftMs = endsAt - performance.now()
      if (!isConnectionLost(error) && databaseErrorCode(error) === undefined) throw error
      if (!isRetryable(error) || leftMs <= 0) throw new StoreUnavailableError(error, { isTransient: isTransient(error) })
      onRetry(error)
      await wait(Math.min(leftMs, backoffDelay(attempt, backoff)), never)
    }
  }
}

/**
 * The driver has a timeout too, but a longer one for each statement, and a request does not wait for that.
 * @param work its signal is aborted when the result is not waited for any longer
 * @throws StoreUnavailableError after `timeoutMs`
 */
export async function withRequestTimeout<T> (work: (signal: AbortSignal) => Promise<T>, timeoutMs = requestTimeoutMs): Promise<T> {
  const controller = new AbortController()
  const { signal } = controller
  const timer = setTimeout(() => controller.abort(new StoreUnavailableError(new Error(`No answer within ${timeoutMs} ms`))), timeoutMs)
  const timeout = new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  try {
    return await Promise.race([work(signal), timeout])
  } finally {
    clearTimeout(timer)
  }
}

/** The driver gives no code for a connection that it lost or did not get, only a message. */
function isConnectionLost (error: unknown): boolean {
  return error instanceof Error && /connection (terminated|error|timeout)|timeout exceeded|read timeout|not queryable|already settled/i.test(error.message)
}

/**
 * Whether to try again at once: lost connections, shutdown, deadlock, serialization failure, too many clients.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function isRetryable (error: unknown): boolean {
  const code = databaseErrorCode(error)
  return code === undefined || /^(08|57P|40|53300|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH)/.test(code)
}

/** Whether the same work may succeed later, even if not at once: also after a full disk, a statement timeout or a lock. */
export function isTransient (error: unknown): boolean {
  return isRetryable(error) || /^(25006|53|55|57|58)/.test(databaseErrorCode(error) ?? '')
}

/** Whether a commit that failed has certainly changed nothing: a constraint checked at its end, or a conflict with another transaction. */
export function isRolledBack (error: unknown): boolean {
  return /^(23|40(?!003))/.test(databaseErrorCode(error) ?? '')
}

/** The error of the database behind a StoreUnavailableError. */
export function unwrapCause (error: unknown): unknown {
  return error instanceof StoreUnavailableError ? error.cause : error
}

/** SQLSTATE, or Node's code for a connection that failed. */
export function databaseErrorCode (error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
