const maxWaitSeconds = 60

/**
 * The seconds of `Prefer: wait=n`, more than 60 counting as 60; undefined where there is no such preference or it cannot
 * be used.
 */
export function parseWaitSeconds (prefer: string | string[] | undefined): number | undefined {
  const wait = parsePrefer(prefer).get('wait')
  return wait !== undefined && /^\d+$/.test(wait) ? Math.min(Number(wait), maxWaitSeconds) : undefined
}

/**
 * The preferences of a `Prefer` header (RFC 7240), by lower-case name. A preference without a value has the value ''.
 * Where a name comes twice the first one counts; what cannot be read is left out, it is never an error.
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

/** The members of a list: a comma between quotes is part of its member. */
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
