import pg from 'pg'
import type { Test } from 'tap'

/** The error with which a statement fails. If `isSent` is true it is executed, and only its result is lost. */
export interface StatementFault { error: Error, isSent: boolean }

/** An error as the driver gives it: with a SQLSTATE or one of Node's codes. */
export function databaseError (code: string): Error {
  return Object.assign(new Error(`A fault of the test: ${code}`), { code })
}

type Answer = (error: Error | null, result?: unknown) => void

/**
 * Calls `inject` with every statement of this process before it is sent. The statement fails with the fault that `inject`
 * returns, if any. The driver is restored when the test ends.
 */
export function onStatements (t: Test, inject: (text: string, client: pg.Client, values: unknown) => StatementFault | undefined): void {
  // The boundary: the type has an overload for each kind of query.
  const prototype = pg.Client.prototype as { query: (this: pg.Client, ...parameters: unknown[]) => unknown }
  const { query } = prototype
  prototype.query = function (...parameters) {
    const fault = inject(String(parameters[0]), this, parameters[1])
    if (fault === undefined) return Reflect.apply(query, this, parameters)
    const answer = parameters.at(-1)
    const fail = async () => {
      if (fault.isSent) await Reflect.apply(query, this, parameters.filter((value) => typeof value !== 'function'))
      throw fault.error
    }
    if (typeof answer !== 'function') return fail()
    fail().catch((error: unknown) => (answer as Answer)(error as Error))
  }
  t.teardown(() => { prototype.query = query })
}
