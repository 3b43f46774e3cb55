import { parse } from 'range-parser'
import type { ByteSpan } from '../videos/video-archive.ts'

/**
 * Parses a `Range` header (RFC 9110, section 14). Several ranges, other units and what cannot be parsed are ignored, as a server may: the
 * client then gets all bytes.
 * @param bytes the size of the file
 * @returns undefined for all bytes
 */
export function parseByteRange (header: string | undefined, bytes: number): ByteSpan | 'unsatisfiable' | undefined {
  if (header === undefined) return undefined
  const { code, type, ranges: [first, second] } = parse(bytes, header)
  if (type !== 'bytes' || (code & isMalformed) !== 0 || second !== undefined) return undefined
  return first ?? 'unsatisfiable'
}

/** Whether a `Range` header asks for one range of bytes, whatever the size of the file is. */
export function isSingleRange (header: string): boolean {
  const range = parseByteRange(header, Number.MAX_SAFE_INTEGER)
  return range !== undefined && range !== 'unsatisfiable'
}

/** A bit of the parser's `code`. */
const isMalformed = 1
