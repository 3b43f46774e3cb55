/**
 * The preferences of a `Prefer` header (RFC 7240), by lower-case name. A preference without a value has the value ''.
 * Where a name comes twice the first one counts; what cannot be read is left out, it is never an error.
 */
export function parsePrefer (header: string | string[] | undefined): Map<string, string> {
  const preferences = new Map<string, string>()
  for (const part of String(header ?? '').split(',')) {
    const [, name, quoted, bare] = preference.exec(part) ?? []
    if (name === undefined) continue
    const key = name.toLowerCase()
    if (!preferences.has(key)) preferences.set(key, quoted ?? bare ?? '')
  }
  return preferences
}

const preference = /^\s*([!#$%&'*+.^_`|~\w-]+)\s*(?:=\s*(?:"([^"]*)"|([!#$%&'*+.^_`|~\w-]*)))?\s*(?:;.*)?$/
