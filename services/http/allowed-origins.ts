/** The origins whose web pages may use the service: some, or all that send an API key. */
export type AllowedOrigins = ReadonlySet<string> | 'any'

const explanation = 'an origin is http or https, a host, and a port if it is not the usual one, such as https://studio.example.com'

/**
 * Parses a list of origins.
 * @param text origins with commas between them, or `*`
 * @returns the origins as browsers write them in `Origin`, or for each fault the rest of a sentence that begins with the name of the setting
 */
export function parseAllowedOrigins (text: string): { ok: true, origins: AllowedOrigins } | { ok: false, faults: string[] } {
  if (text.trim() === '*') return { ok: true, origins: 'any' }
  const parsed = text.split(',').map((entry) => parseOrigin(entry.trim()))
  const faults = parsed.flatMap((entry) => 'fault' in entry ? [entry.fault] : [])
  return faults.length > 0 ? { ok: false, faults } : { ok: true, origins: new Set(parsed.flatMap((entry) => 'origin' in entry ? [entry.origin] : [])) }
}

function parseOrigin (entry: string): { origin: string } | { fault: string } {
  if (entry.includes('*')) return { fault: `has “${entry}”: * is possible alone only, not as a part of an origin` }
  const url = URL.parse(entry)
  if (url === null || !['http:', 'https:'].includes(url.protocol) || !/^https?:\/\/[^/]/i.test(entry)) return { fault: `has “${entry}”, which is no origin: ${explanation}` }
  if (url.username !== '' || url.password !== '') return { fault: `has an entry with a user name or a password: ${explanation}` }
  if (url.pathname !== '/' || /[?#]/.test(entry)) return { fault: `has “${entry}”, in which something follows the host: ${explanation}` }
  return { origin: url.origin }
}
