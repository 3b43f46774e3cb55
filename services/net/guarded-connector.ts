import { isIP, type LookupFunction } from 'node:net'
import { buildConnector } from 'undici'
import { isPublicAddress } from './ip-address.ts'

export interface GuardedConnectorOptions {
  /** whether this machine and its networks may be connected to */
  allowPrivate: boolean
  /** ms to resolve the name and to connect */
  timeoutMs: number
  lookup: LookupFunction
}

/** A connection was refused because no address of the host is on the public internet. */
class NotPublicError extends Error {
  readonly code = 'not_public'
}

/**
 * Makes connections for a client of undici. The IP address that is checked is the one that is connected to, whatever the name resolves to
 * before or after. An IP address that stands for the name is checked as well, although it is never resolved.
 */
export function createGuardedConnector ({ allowPrivate, timeoutMs, lookup }: GuardedConnectorOptions): buildConnector.connector {
  const connect = buildConnector({ timeout: timeoutMs, allowH2: false, lookup: allowPrivate ? lookup : publicOnly(lookup) })
  if (allowPrivate) return connect
  return (options, callback) => {
    if (isForbiddenLiteral(options.hostname)) callback(new NotPublicError('The address is not on the public internet'), null)
    else connect(options, callback)
  }
}

/** Makes a lookup return only the public addresses of a name, and fail if there are none. */
export function publicOnly (lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      const addresses = Array.isArray(found) ? found.filter(({ address }) => isPublicAddress(address)) : []
      const [first] = addresses
      if (error !== null || first === undefined) callback(error ?? new NotPublicError('No address of the host is on the public internet'), [])
      else if (options.all) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}

function isForbiddenLiteral (hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  return isIP(host) !== 0 && !isPublicAddress(host)
}
