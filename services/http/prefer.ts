const maxWaitSeconds = 60

/** @returns the seconds of `Prefer: wait=n`, limited to 60; undefined if there is no such preference or it is no whole number */
export function parseWaitSeconds (prefer: string | string[] | undefined): number | undefined {
  const wait = parsePrefer(prefer).get('wait')
  return wait !== undefined && /^\d+$/.test(wait) ? Math.min(Number(wait), maxWaitSeconds) : undefined
}

/**
 * Parses a `Prefer` header (RFC 7240). The first of several preferences with the same name counts, and a part that cannot be parsed is
 * ignored: this header never causes an error.
 * @returns values by lower-case name; '' for a preference without a value
 */
export function parsePrefer (header: string | string[] | undefined): Map<string, string> {
  const preferences = new Map<string, string>()
  for (const part of splitList(String(header ?? ''))) {
    const [, name, quoted, bare] = preference.exec(part) ?? []
    if (name === undefined) continue
    const key = name.toLowerCase()
    if (!preferences.has(key)) preferences.set(key, quoted ?? bare ?? '')
  }
  return preferences
}

/** Splits a list at its commas, except for those between quotes. */
function splitList (text: string): string[] {
  const members: string[] = []
  let start = 0
  let isQuoted = false
  for (let index = 0; index < text.length; index++) {
    if (text[index] === '"') isQuoted = !isQuoted
    if (text[index] !== ',' || isQuoted) continue
    members.push(text.slice(start, index))
    start = index + 1
  }
  return [...members, text.slice(start)]
}

const preference = /^\s*([!#$%&'*+.^_`|~\w-]+)\s*(?:=\s*(?:"([^"]*)"|([!#$%&'*+.^_`|~\w-]*)))?\s*(?:;.*)?$/
