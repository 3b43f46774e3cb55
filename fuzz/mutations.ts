import fc from 'fast-check'
import { canary } from './hostile-text.ts'

/** Bytes that mean something in HTTP at the wrong place, or nothing at all. */
const fragments = [
  '\r\n', '\n', '\r', '\0', ':', ' ', '\t', '\r\n\r\n', '%', '?', '#', '\x7f', '\xff', '\xc3\x28',
  'Content-Length: 5\r\n', 'Content-Length: -1\r\n', 'Content-Length: 5, 6\r\n', 'Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: x, chunked\r\n',
  'Expect: 100-continue\r\n', 'Expect: x\r\n', 'Host: other.test\r\n', 'Host:\r\n', 'Connection: Upgrade\r\nUpgrade: websocket\r\n', 'X-Injected: yes\r\n', ' X-Folded: yes\r\n',
  '0\r\n\r\n', 'ffffffffffffffff\r\n', '5\r\nabcde\r\n', 'GET /livez HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\n\r\n',
  'HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', `X-A: ${canary}\r\n`
]

export type Mutation =
  | { kind: 'insert' | 'overwrite', at: number, text: string }
  | { kind: 'remove', at: number, length: number }
  | { kind: 'repeat', at: number, length: number, times: number }
  | { kind: 'cut', at: number }

const texts = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...fragments) },
  { weight: 2, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('latin1')) },
  { weight: 1, arbitrary: fc.constant('a'.repeat(150_000)) }
)
const at = fc.nat(10_000)
const length = fc.integer({ min: 1, max: 40 })

/** Changes of a request. A place counts in ten-thousandths of its length. */
export const mutations: fc.Arbitrary<Mutation[]> = fc.array(fc.oneof(
  fc.record({ kind: fc.constantFrom('insert', 'overwrite'), at, text: texts }),
  fc.record({ kind: fc.constant('remove'), at, length }),
  fc.record({ kind: fc.constant('repeat'), at, length, times: fc.constantFrom(1, 2, 3_000) }),
  fc.record({ kind: fc.constant('cut'), at })
), { minLength: 1, maxLength: 4 })

/** @returns the request after all changes, each of which is applied to the result of the one before */
export function mutate (request: Buffer, changes: readonly Mutation[]): Buffer {
  return changes.reduce(applyMutation, request)
}

function applyMutation (bytes: Buffer, change: Mutation): Buffer {
  const place = Math.floor(bytes.length * change.at / 10_001)
  const before = bytes.subarray(0, place)
  const after = bytes.subarray(place)
  switch (change.kind) {
    case 'insert': return Buffer.concat([before, Buffer.from(change.text, 'latin1'), after])
    case 'overwrite': return Buffer.concat([before, Buffer.from(change.text, 'latin1'), after.subarray(change.text.length)])
    case 'remove': return Buffer.concat([before, after.subarray(change.length)])
    case 'repeat': return Buffer.concat([before, ...Array.from({ length: change.times }, () => after.subarray(0, change.length)), after])
    case 'cut': return before
  }
}
