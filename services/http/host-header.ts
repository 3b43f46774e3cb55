/** A name, an address or nothing, and perhaps a port: RFC 9110, section 7.2. */
const hostAndPort = /^(?:(\[[\da-f:.]+\])|([\w.~!$&'()*+,;=%-]*))(?::\d{0,5})?$/i

/**
 * The host that a `Host` header names, in lower case, without port and final dot; IPv6 addresses in brackets.
 * @returns undefined where the header is no host
 */
export function parseHostname (header: string): string | undefined {
  const [whole, address, name = ''] = hostAndPort.exec(header) ?? []
  return whole === undefined ? undefined : (address ?? name).toLowerCase().replace(/\.$/, '')
}

/**
 * What is wrong with the `Host` of a request, a sentence; undefined where nothing is.
 * @param rawHeaders names and values in turn, as Node gives them: of several it tells only the first otherwise
 */
export function findHostFault (rawHeaders: string[], httpVersion: string): string | undefined {
  let host: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length !== 4 || name.toLowerCase() !== 'host') continue
    if (host !== undefined) return 'The request has more than one Host header'
    host = rawHeaders[index + 1] ?? ''
  }
  if (host === undefined) return httpVersion === '1.1' ? 'The request has no Host header' : undefined
  return parseHostname(host) === undefined ? 'The Host header is no host, with or without a port' : undefined
}
