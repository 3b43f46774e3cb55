import fastifyRateLimit, { type FastifyRateLimitStore } from '@fastify/rate-limit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problem } from '../errors.ts'
import { callerOf } from '../routes/require-caller.ts'
import { rateLimitFields, type LimitStatus } from '../services/http/rate-limit-fields.ts'
import { addressNetwork } from '../services/net/ip-address.ts'
import { RequestLimiter, windowSeconds } from '../services/rate-limit/request-limiter.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The `onRequest` hook of routes with callers: it refuses a request that is one too many of its caller. */
    limitRequest: (request: FastifyRequest, reply: FastifyReply) => Promise<void>
  }
  interface FastifyContextConfig {
    /** Whether requests to the route create tasks. Their number is limited apart from that of all others. */
    createsTask?: boolean
  }
}

export interface RequestLimitsOptions {
  /** for each key and, without a key, each address; 0 for no limit */
  createsPerMinute: number
  readsPerMinute: number
}

/** What a limit counts together, and how many requests of that it allows in a minute; 0 for any number. */
interface LimitOf { subject: string, perMinute: number }

/**
 * Limits how many requests each API key and, without a key, each address makes in a minute. `@fastify/rate-limit` applies the limits, the
 * `RequestLimiter` counts, and the header fields are those of the newest draft, which the plugin does not know.
 */
export default fp<RequestLimitsOptions>(async (app, { createsPerMinute, readsPerMinute }) => {
  const limiter = new RequestLimiter({ counter: app.taskStore.requestCounter, log: app.log })

  class Store implements FastifyRateLimitStore {
    incr (key: string, callback: Parameters<FastifyRateLimitStore['incr']>[1], _windowMs: number, limit: number): void {
      limiter.count(key, limit).then(({ points, resetMs }) => callback(null, { current: points, ttl: resetMs }), callback)
    }

    child (): Store {
      return this
    }
  }

  await app.register(fastifyRateLimit, { global: false, store: Store })
  const create = limit('create', (request) => {
    const { entry } = callerOf(request)
    const isInAll = isWithoutKey(request)
    return { subject: subjectOf(request), perMinute: entry?.limits.createsPerMinute ?? (isInAll ? 0 : createsPerMinute) }
  })
  const createPerAddress = limit('create_per_address', (request) => {
    const own = callerOf(request).entry?.limits.createsPerMinutePerAddress
    return { subject: addressOf(request), perMinute: isWithoutKey(request) ? own ?? createsPerMinute : 0 }
  })
  const read = limit('read', (request) => ({ subject: isWithoutKey(request) ? addressOf(request) : subjectOf(request), perMinute: readsPerMinute }))

  // An address that has reached its limit uses up nothing of what all addresses share.
  app.decorate('limitRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    const limits: LimitStatus[] = []
    for (const check of request.routeOptions.config.createsTask === true ? [createPerAddress, create] : [read]) {
      const status = await check(request)
      if (status === undefined) continue
      limits.push(status)
      reply.headers(rateLimitFields(limits))
      if (status.isExceeded) throw problem('too_many_requests', { headers: { 'retry-after': String(status.resetSeconds) } })
    }
  })

  /** @returns counts a request; undefined if nothing limits it */
  function limit (name: string, of: (request: FastifyRequest) => LimitOf) {
    const count = app.createRateLimit({
      keyGenerator: (request) => `${name} ${of(request).subject}`,
      max: (request) => of(request).perMinute,
      timeWindow: windowSeconds * 1_000,
      allowList: (request) => of(request).perMinute === 0
    })
    return async (request: FastifyRequest) => {
      const counted = await count(request)
      if (counted.isAllowed) return undefined
      const { max, remaining, ttlInSeconds, isExceeded } = counted
      return { name, limit: max, windowSeconds, remaining, resetSeconds: ttlInSeconds, isExceeded }
    }
  }
}, { name: 'request-limits', dependencies: ['access', 'task-store'] })

/** Whether a service with API keys has admitted the request without one. */
function isWithoutKey (request: FastifyRequest): boolean {
  const { entry, keyName } = callerOf(request)
  return entry !== null && keyName === null
}

/** Two keys with one name, of which one replaces the other, count together. */
function subjectOf (request: FastifyRequest): string {
  const { entry } = callerOf(request)
  return entry === null ? addressOf(request) : `key ${entry.name}`
}

function addressOf ({ ip }: FastifyRequest): string {
  return `address ${addressNetwork(ip)}`
}
