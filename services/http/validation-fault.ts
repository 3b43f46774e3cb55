import type { Fault } from '../../errors.ts'
import { idempotencyKeyPattern } from '../store/idempotency-key.ts'

/** The members of ajv's errors that are used here. */
export interface SchemaFault {
  instancePath: string
  keyword: string
  params: Record<string, unknown>
  message?: string | undefined
}

interface KeywordFault {
  /** a stable code, for programs */
  type: string
  msg: (params: Record<string, unknown>) => string
}

const typeNames: Record<string, string> = {
  integer: 'a whole number',
  formatNumber: 'a number',
  string: 'text',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object'
}

const patternMessages: Record<string, string> = {
  [idempotencyKeyPattern]: 'must be 1 to 255 visible ASCII characters'
}

const keywordFaults: Record<string, KeywordFault> = {
  required: { type: 'missing', msg: () => 'is required' },
  enum: { type: 'enum', msg: ({ allowedValues }) => `must be one of ${formatList(allowedValues)}` },
  const: { type: 'enum', msg: ({ allowedValue }) => `must be ${allowedValue}` },
  type: { type: 'type', msg: ({ type }) => `must be ${typeNames[String(type)] ?? type}` },
  minLength: { type: 'too_short', msg: ({ limit }) => limit === 1 ? 'must not be empty' : `must be at least ${number(limit)} characters long` },
  maxLength: { type: 'too_long', msg: ({ limit }) => `must be at most ${number(limit)} characters long` },
  minimum: { type: 'too_small', msg: ({ limit }) => `must be at least ${number(limit)}` },
  maximum: { type: 'too_large', msg: ({ limit }) => `must be at most ${number(limit)}` },
  pattern: { type: 'pattern', msg: ({ pattern }) => patternMessages[String(pattern)] ?? `must match the pattern ${pattern}` },
  format: { type: 'format', msg: ({ format }) => `must be a valid ${format}` }
}

/**
 * Describes an error of ajv to people, without the value that the client sent.
 * @param part `query`, `path`, `header` or `body`
 */
export function describeFault (part: string, { instancePath, keyword, params, message }: SchemaFault): Fault {
  const wording = keywordFaults[keyword]
  const loc = [part, ...instancePath.split('/').slice(1).map(unescapePointer)]
  if (keyword === 'required') loc.push(String(params.missingProperty))
  return { loc, msg: wording?.msg(params) ?? message ?? 'cannot be used', type: wording?.type ?? 'invalid' }
}

/** RFC 6901 */
function unescapePointer (token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~')
}

function formatList (values: unknown): string {
  return Array.isArray(values) ? values.filter((value) => value !== null).join(', ') : String(values)
}

function number (value: unknown): string {
  return Number(value).toLocaleString('en-US')
}
