import type { FastifyInstance } from 'fastify'
import { problem } from '../errors.ts'

export interface LoopbackOnlyOptions {
  /** whether the service listens on a loopback address, so that only programs on this machine reach it */
  isLoopbackOnly: boolean
}

/**
 * Refuses the routes of a scope unless the service is reachable from this machine only. There are no API keys yet, so a task's id is
 * the only thing that protects a dream: other callers must neither list tasks nor delete them.
 * @param app the scope of these routes alone
 */
export function allowLoopbackOnly (app: FastifyInstance, isLoopbackOnly: boolean): void {
  app.addHook('onRequest', (_request, _reply, done) => done(isLoopbackOnly ? undefined : problem('keys_required')))
}
