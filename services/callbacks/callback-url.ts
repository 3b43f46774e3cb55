import { isIP } from 'node:net'
import { isPublicAddress } from '../net/ip-address.ts'

export interface CallbackRules {
  /** whether there is a secret to sign with */
  canSign: boolean
  /** whether http, any port and private addresses may be called, as on a developer's machine */
  allowPrivate: boolean
}

const faults = {
  unsigned: { type: 'unavailable', msg: 'cannot be used: this service has no CALLBACK_SECRET to sign with' },
  notHttps: { type: 'format', msg: 'must be an https address' },
  notHttp: { type: 'format', msg: 'must be an http or https address' },
  host: { type: 'format', msg: 'must name a host that can exist' },
  credentials: { type: 'credentials', msg: 'must not hold a user name or a password' },
  port: { type: 'port', msg: 'must be an address at port 443' },
  notPublic: { type: 'not_public', msg: 'must be an address on the public internet' }
} as const

export type CallbackUrl =
  | { ok: true, url: string }
  | { ok: false, fault: typeof faults[keyof typeof faults] }

/**
 * Reads an address that a caller wants to be called at. Where its name leads is looked at when it is called.
 * @returns the address in its normal form, without a fragment
 */
export function parseCallbackUrl (text: string, { canSign, allowPrivate }: CallbackRules): CallbackUrl {
  const refuse = (fault: keyof typeof faults): CallbackUrl => ({ ok: false, fault: faults[fault] })
  if (!canSign) return refuse('unsigned')
  const url = URL.parse(text)
  if (url?.protocol !== 'https:' && !(allowPrivate && url?.protocol === 'http:')) return refuse(allowPrivate ? 'notHttp' : 'notHttps')
  if (hasUserInfo(text)) return refuse('credentials')
  if (!isHost(url.hostname)) return refuse('host')
  if (!allowPrivate && url.port !== '') return refuse('port')
  if (!allowPrivate && !couldBePublic(url)) return refuse('notPublic')
  url.hash = ''
  return { ok: true, url: url.href }
}

/** `new URL` leaves an empty user name out, and takes a backslash for a slash; line breaks and tabs count for nothing. */
function hasUserInfo (text: string): boolean {
  const authority = /^[^:]*:[/\\]*([^/\\?#]*)/.exec(text.replace(/[\t\n\r]/g, ''))?.[1]
  return authority?.includes('@') ?? false
}

const maxHostLength = 253
const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

/** An address, or a name as DNS can hold it; `new URL` takes empty labels and other characters as well. */
function isHost (hostname: string): boolean {
  if (hostname.startsWith('[')) return true
  const name = hostname.replace(/\.$/, '')
  return name.length <= maxHostLength && name.split('.').every((part) => label.test(part))
}

function couldBePublic ({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  return isIP(host) === 0 ? !/(^|\.)localhost\.?$/.test(host) : isPublicAddress(host)
}
