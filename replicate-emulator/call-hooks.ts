import type { FastifyReply, FastifyRequest, onRequestHookHandler, onSendHookHandler } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Emulator } from './emulator.ts'
import { injectFault } from './fault-injection.ts'
import { failsAfterEffect, type Call, type Fault } from './fault.ts'
import { Problem, throttled } from './problem.ts'
import { RateLimit } from './rate-limit.ts'

interface CallHooks {
  onRequest: onRequestHookHandler[]
  onSend: onSendHookHandler[]
}

export type HooksFor = (call: Call) => CallHooks

/** The hooks of a call of the API: they count, authenticate, limit, inject faults and delay. */
export function apiHooks (emulator: Emulator, token: string | undefined): HooksFor {
  const limits = { create: new RateLimit(600, emulator.now), other: new RateLimit(3000, emulator.now) }
  return (call) => {
    const { begin, finish } = faultHooks(emulator, call)
    const authenticate: onRequestHookHandler = (request, reply, done) => {
      const given = checkToken(request, token)
      if (emulator.settings.rateLimits) limit(limits[call === 'create' ? 'create' : 'other'], given, reply)
      done()
    }
    const delay: onSendHookHandler = async () => {
      if (emulator.settings.latencyMs > 0) await sleep(emulator.settings.latencyMs)
    }
    return { onRequest: [count(emulator, call), authenticate, begin], onSend: [delay, finish] }
  }
}

/** The hooks of a public file: without a token and a limit. */
export function fileHooks (emulator: Emulator): HooksFor {
  return (call) => {
    const { begin, finish } = faultHooks(emulator, call)
    return { onRequest: [count(emulator, call), begin], onSend: [finish] }
  }
}

function count (emulator: Emulator, call: Call): onRequestHookHandler {
  return (request, reply, done) => {
    emulator.calls[call] += 1
    done()
  }
}

/** The fault of a call is taken at its beginning; one that comes after the effect is injected with the answer. */
function faultHooks (emulator: Emulator, call: Call): { begin: onRequestHookHandler, finish: onSendHookHandler } {
  const pending = new WeakMap<FastifyRequest, Fault>()
  return {
    begin (request, reply, done) {
      const fault = emulator.faultFor(call, namedPrediction(request))
      if (fault === undefined) return done()
      if (!failsAfterEffect(fault)) return injectFault(fault, request, reply, null, (payload) => { reply.send(payload) })
      pending.set(request, fault)
      done()
    },
    finish (request, reply, payload, done) {
      const fault = pending.get(request)
      if (fault === undefined) return done()
      injectFault(fault, request, reply, payload, (broken) => done(null, broken))
    }
  }
}

/** The id in the path, if it has one. */
function namedPrediction ({ params }: FastifyRequest): string | undefined {
  const isNamed = typeof params === 'object' && params !== null && 'id' in params && typeof params.id === 'string'
  return isNamed ? String(params.id) : undefined
}

function checkToken ({ headers }: FastifyRequest, expected: string | undefined): string {
  const given = /^(?:bearer|token)\s+(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  if (given === undefined) throw unauthenticated('You did not pass an authentication token')
  if (expected !== undefined && given !== expected) throw unauthenticated('You did not pass a valid authentication token')
  return given
}

function unauthenticated (detail: string): Problem {
  return new Problem(401, detail, { title: 'Unauthenticated' })
}

function limit (rateLimit: RateLimit, token: string, reply: FastifyReply): void {
  const { allowed, remaining, resetSeconds } = rateLimit.spend(token)
  reply.headers({ 'ratelimit-remaining': remaining, 'ratelimit-reset': resetSeconds })
  if (allowed) return
  reply.header('retry-after', resetSeconds)
  throw throttled(resetSeconds)
}
