/** A name, an IP address or nothing, then an optional port (RFC 9110, section 7.2). */
const hostAndPort = /^(?:(\[[\da-f:.]+\])|([\w.~!$&'()*+,;=%-]*))(?::\d{0,5})?$/i

/** @returns the host of a `Host` header in lower case, without port and final dot, IPv6 in brackets; undefined if it is invalid */
export function parseHostname (header: string): string | undefined {
  const [whole, address, name = ''] = hostAndPort.exec(header) ?? []
  return whole === undefined ? undefined : (address ?? name).toLowerCase().replace(/\.$/, '')
}

/**
 * Checks the `Host` header of a request.
 * @param rawHeaders alternating names and values, as Node gives them; `headers` would keep only the first of several
 * @returns a sentence that says what is wrong; undefined if the header is valid
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
  return parseHostname(host) === undefined ? 'The Host header is not a host name or an IP address with an optional port' : undefined
}
