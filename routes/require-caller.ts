import type { FastifyInstance, FastifyRequest } from 'fastify'
import { problem, type ProblemError } from '../errors.ts'
import { ownsTasks, type AccessControl, type Admission, type Caller } from '../services/access/access-control.ts'

/**
 * Makes the routes of a scope refuse requests that are not admitted, before their body is read. In services with API keys these are
 * requests without a valid key.
 * @param app the scope of these routes alone
 */
export function requireCaller (app: FastifyInstance): void {
  const { accessControl } = app
  app.addHook('onRequest', (request, _reply, done) => {
    const admission = accessControl.admit(request.raw.rawHeaders)
    if (admission.outcome !== 'admitted') return done(toProblem(admission))
    request.caller = admission.caller
    done()
  })
}

/**
 * Makes the routes of a scope refuse callers that have no tasks of their own: the id is all that protects a task that was made without a
 * key, so such callers must neither list tasks nor delete them.
 * @param app the scope of these routes alone, inside of one with `requireCaller`
 */
export function requireOwnTasks (app: FastifyInstance): void {
  const { accessControl } = app
  app.addHook('onRequest', (request, _reply, done) => {
    if (ownsTasks(callerOf(request))) return done()
    done(problem(accessControl.isOpen ? 'keys_required' : 'api_key_missing'))
  })
}

/**
 * Makes the routes of a scope refuse callers that may not see the tasks of all others.
 * @param app the scope of these routes alone, inside of one with `requireCaller`
 */
export function requireAdmin (app: FastifyInstance): void {
  const { accessControl } = app
  app.addHook('onRequest', (request, _reply, done) => {
    const { isAdmin, keyName } = callerOf(request)
    if (isAdmin) return done()
    if (accessControl.isOpen) return done(problem('keys_required'))
    done(problem(keyName === null ? 'api_key_missing' : 'admin_required'))
  })
}

/** @throws Error in a scope without `requireCaller` */
export function callerOf ({ caller }: FastifyRequest): Caller {
  if (caller === null) throw new Error('The scope of this route does not require a caller')
  return caller
}

/**
 * For a request that has waited.
 * @throws ProblemError if the key of its caller has been removed or has expired meanwhile
 */
export function assertStillAdmitted (caller: Caller, accessControl: AccessControl): void {
  if (!accessControl.isCurrent(caller)) throw problem('api_key_invalid')
}

function toProblem ({ outcome }: Exclude<Admission, { outcome: 'admitted' }>): ProblemError {
  switch (outcome) {
    case 'key_missing': return problem('api_key_missing')
    case 'key_invalid': return problem('api_key_invalid')
    case 'key_expired': return problem('api_key_invalid', { detail: 'The API key has expired' })
  }
}
