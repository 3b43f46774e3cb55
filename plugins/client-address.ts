import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { TrustedProxies } from '../services/http/trusted-proxies.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The host that a trusted proxy in front of the service was addressed by; undefined if no such proxy says it. */
    readonly forwardedHost: string | undefined
  }
}

export interface ClientAddressOptions {
  proxies: TrustedProxies
}

/**
 * Makes `ip`, `protocol` and `host` of a request, and what Fastify derives from them, those of the client. Fastify’s own `trustProxy`
 * returns what a header contains, valid or not, and IPv4 addresses in two notations. Without `trustProxy` these names can be decorated.
 */
export default fp<ClientAddressOptions>(async (app, { proxies }) => {
  let hasWarned = false
  app.decorateRequest('ip', { getter (this: FastifyRequest) { return addressOf(this) } })
  app.decorateRequest('protocol', { getter (this: FastifyRequest) { return proxies.forwardedProtocol(this.raw) ?? 'http' } })
  app.decorateRequest('host', { getter (this: FastifyRequest) { return this.forwardedHost ?? this.raw.headers.host ?? '' } })
  app.decorateRequest('forwardedHost', { getter (this: FastifyRequest) { return proxies.forwardedHost(this.raw) } })

  function addressOf ({ raw }: FastifyRequest): string {
    const client = proxies.clientAddress(raw)
    if (!hasWarned && raw.headers['x-forwarded-for'] !== undefined && !proxies.isFromProxy(raw)) warn(client)
    return client
  }

  function warn (sender: string): void {
    hasWarned = true
    app.log.warn({ sender }, 'Ignored X-Forwarded-For, because its sender is not in TRUST_PROXY. If it is your proxy, all its clients count as one until you add it')
  }
}, { name: 'client-address', dependencies: ['problem-details'] })
