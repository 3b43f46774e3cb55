/**
 * Replaces a value in the parsed query that is invalid whatever the schema says. It is not a string, number or boolean, so every schema
 * refuses it. The plugin that reports validation faults then reports this fault instead of the schema's.
 */
export class InvalidValue {
  /** a stable code, for programs */
  readonly type: string
  readonly msg: string

  constructor ({ type, msg }: { type: string, msg: string }) {
    this.type = type
    this.msg = msg
    Object.freeze(this)
  }
}

const badEncoding = new InvalidValue({ type: 'encoding', msg: 'must be valid percent-encoded UTF-8' })
const nullCharacter = new InvalidValue({ type: 'null_character', msg: 'must not contain U+0000' })
const repeated = new InvalidValue({ type: 'repeated', msg: 'must be given once' })

/** Further pairs are ignored, as unknown parameters are. */
const maxPairs = 1000

/**
 * Parses the query string of a request: `+` is a space, and percent-encoded bytes are UTF-8. A name that is not valid UTF-8 cannot be a
 * known parameter, so it is left out.
 * @param text without the `?`; ASCII, because Node refuses addresses with other bytes
 * @returns an object without a prototype; each value is a string or an InvalidValue
 */
export function parseQueryString (text: string): Record<string, unknown> {
  const query: Record<string, unknown> = Object.create(null)
  if (text === '') return query
  for (const pair of text.split('&', maxPairs)) {
    const equals = pair.indexOf('=')
    const name = decode(equals === -1 ? pair : pair.slice(0, equals))
    if (name === undefined || name === '') continue
    query[name] = name in query ? repeated : readValue(equals === -1 ? '' : pair.slice(equals + 1))
  }
  return query
}

function readValue (text: string): string | InvalidValue {
  const value = decode(text)
  if (value === undefined) return badEncoding
  return value.includes('\0') ? nullCharacter : value
}

const needsDecoding = /[%+]/

function decode (text: string): string | undefined {
  if (!needsDecoding.test(text)) return text
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}
