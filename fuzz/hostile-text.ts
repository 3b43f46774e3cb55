import fc from 'fast-check'

/** A word that every hostile text may contain. No line of the log may: the log has nothing that clients send. */
export const canary = 'kanarie'

/** Texts that have broken some service: names of prototypes, injected lines, broken encodings, numbers at limits, markup. */
const notorious = [
  '__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__proto__[polluted]', 'constructor.prototype.polluted',
  '{"__proto__":{"polluted":true}}', '\r\nX-Injected: yes', '\nX-Injected: yes', '\r\n\r\n', '\n{"level":60,"msg":"forged"}', '\u2028', '\u0085',
  '\u0000', 'a\u0000b', '\u001b[31m', '\ud800', 'x\udfff', '\udc00\ud800', '\ufeff', '\u00a0', '\u200b', '\u202egnp.exe', '\u0634\u0631\u0642',
  '%', '%00', '%zz', '%C0%AF', '%ED%A0%80', '+', '&', '=', '#', '?', ';', '/', '\\', '..', '../../etc/passwd', '..%2f..%2f',
  '', ' ', '0', '-1', '1', '1e309', '0x10', 'NaN', 'Infinity', '9007199254740993', '99999999999999999999', 'null', 'undefined', 'true', '[]', '{}',
  '"', "'", '`', "' or 1=1 --", '{{7*7}}', '<script>', '*', 'W/"1"', '"', 'bytes=0-', 'a=b', ',', ';q=1', '\u{1f40b}'
]

/** Text that a client should not send, up to some tens of thousands of characters. It may have lone surrogates. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...notorious) },
  { weight: 3, arbitrary: fc.array(fc.constantFrom(...notorious, canary, 'x'), { minLength: 2, maxLength: 6 }).map((parts) => parts.join('')) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)), maxLength: 40 }) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('x', '\u{1f40b}', '\u0301', ',', '%', '[', ' ', '\u202e'), fc.constantFrom(255, 256, 2_000, 2_001, 30_000)).map(([unit, times]) => unit.repeat(times)) }
)

const hex = (byte: number) => `%${byte.toString(16).padStart(2, '0').toUpperCase()}`

/** Percent-encodes every character except for letters, digits and `-._~`. A lone surrogate becomes the three bytes that UTF-8 forbids. */
export function encodeHostile (text: string): string {
  return Array.from(text, (character) => /^[\w.~-]$/.test(character) ? character : bytesOf(character).map(hex).join('')).join('')
}

function bytesOf (character: string): number[] {
  const unit = character.charCodeAt(0)
  if (character.length === 1 && unit >= 0xd800 && unit <= 0xdfff) return [0xe0 | unit >> 12, 0x80 | unit >> 6 & 0x3f, 0x80 | unit & 0x3f]
  return [...Buffer.from(character)]
}
