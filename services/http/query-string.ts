/**
 * Stands in the parsed query for a value that cannot be used. It is no string, number or boolean, so that any schema
 * refuses it; whoever reports the faults of the schema says this one in its place.
 */
export class InvalidValue {
  /** stable, for programs */
  readonly type: string
  readonly msg: string

  constructor ({ type, msg }: { type: string, msg: string }) {
    this.type = type
    this.msg = msg
    Object.freeze(this)
  }
}

/** Why a value cannot be used, whatever the route makes of it. */
const badEncoding = new InvalidValue({ type: 'encoding', msg: 'must be valid percent-encoded UTF-8' })
const nullCharacter = new InvalidValue({ type: 'null_character', msg: 'must not contain U+0000' })
const repeated = new InvalidValue({ type: 'repeated', msg: 'must be given once' })

/** What comes after so many pairs is not looked at, like any parameter that nobody knows. */
const maxPairs = 1000

/**
 * Reads the query part of a request's address, without its `?`: `+` is a space, percent sequences are UTF-8.
 * A name that is not valid UTF-8 names nothing that anybody knows, and is left out.
 * @param text ASCII: Node refuses an address with any other byte
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
