import { isIP } from 'node:net'
import { isPublicAddress } from '../net/ip-address.ts'

export interface CallbackRules {
  /** whether the service has a secret to sign with */
  canSign: boolean
  /** whether http, any port and private addresses are allowed, for example on a developer's machine */
  allowPrivate: boolean
}

const faults = {
  unsigned: { type: 'unavailable', msg: 'cannot be used: this service has no CALLBACK_SECRET to sign with' },
  notHttps: { type: 'format', msg: 'must be an https address' },
  notHttp: { type: 'format', msg: 'must be an http or https address' },
  host: { type: 'format', msg: 'must have a valid host name' },
  credentials: { type: 'credentials', msg: 'must not contain a user name or a password' },
  port: { type: 'port', msg: 'must be an address at port 443' },
  notPublic: { type: 'not_public', msg: 'must be an address on the public internet' }
} as const

export type CallbackUrl =
  | { ok: true, url: string }
  | { ok: false, fault: typeof faults[keyof typeof faults] }

/**
 * Parses and checks a `callback_url`. The addresses that its host name resolves to are checked later, when it is called.
 * @returns the normalised address without a fragment, or a fault for the client
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

/** Checks the text itself, because `URL` drops an empty user name. Like `URL` it treats a backslash as a slash and ignores tabs and line breaks. */
function hasUserInfo (text: string): boolean {
  const authority = /^[^:]*:[/\\]*([^/\\?#]*)/.exec(text.replace(/[\t\n\r]/g, ''))?.[1]
  return authority?.includes('@') ?? false
}

const maxHostLength = 253
const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

/** Whether the host is an IP address or a valid DNS name. `URL` also accepts empty labels and other characters. */
function isHost (hostname: string): boolean {
  if (hostname.startsWith('[')) return true
  const name = hostname.replace(/\.$/, '')
  return name.length <= maxHostLength && name.split('.').every((part) => label.test(part))
}

function couldBePublic ({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  return isIP(host) === 0 ? !/(^|\.)localhost\.?$/.test(host) : isPublicAddress(host)
}
