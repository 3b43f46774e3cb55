import t from 'tap'
import { transformQuery } from '../../routes/transform-query.ts'
import { InvalidValue, parseQueryString } from '../../services/http/query-string.ts'

function parse (text: string): Record<string, unknown> {
  return { ...parseQueryString(text) }
}

function faultOf (text: string): string | undefined {
  const value = parseQueryString(text).a
  return value instanceof InvalidValue ? value.type : undefined
}

t.test('a plus is a space, and percent-encoded bytes are UTF-8', async (t) => {
  t.same(parse('a=a+whale%20%F0%9F%90%8B+%2B1&b=2'), { a: 'a whale 🐋 +1', b: '2' })
})

t.test('names without a value have the empty value, and pairs without a name are ignored', async (t) => {
  t.same(parse(''), {})
  t.same(parse('&&'), {})
  t.same(parse('?'), { '?': '' })
  t.same(parse('a'), { a: '' })
  t.same(parse('a='), { a: '' })
  t.same(parse('=x'), {})
  t.same(parse('a=b=c'), { a: 'b=c' })
})

t.test('invalid percent-encoding, bytes that are not UTF-8, and encoded surrogates make a value invalid', async (t) => {
  for (const value of ['%', '%4', '%zz', '100%', '%ff', '%C0%80', '%ED%A0%80', '%F4%90%80%80', '%E5%A4']) {
    t.equal(faultOf(`a=${value}`), 'encoding', value)
  }
})

t.test('a value with U+0000 is invalid', async (t) => {
  t.equal(faultOf('a=x%00y'), 'null_character')
})

t.test('a parameter that is given twice is invalid, however it is encoded', async (t) => {
  t.equal(faultOf('a=1&a=2'), 'repeated')
  t.equal(faultOf('a=1&a=1&a=1'), 'repeated')
  t.equal(faultOf('a=%ff&%61=2'), 'repeated')
})

t.test('a name that cannot be decoded is left out, and the others are parsed', async (t) => {
  t.same(parse('%ff=1&b=2&%=3'), { b: '2' })
})

t.test('names of Object.prototype are ordinary names', async (t) => {
  const query = parseQueryString('__proto__=1&constructor=2&toString=3')
  t.equal(Object.getPrototypeOf(query), null)
  t.same(Object.entries(query), [['__proto__', '1'], ['constructor', '2'], ['toString', '3']])
  t.notOk('valueOf' in parseQueryString('a=1'))
})

t.test('only the first thousand pairs are parsed', async (t) => {
  const pairs = Array.from({ length: 5000 }, (_, index) => `n${index}=1`)
  t.equal(Object.keys(parseQueryString(pairs.join('&'))).length, 1000)
})

t.test('transformQuery replaces a string, and leaves any other value as it is', async (t) => {
  const query = parseQueryString('dream=+x+&style=+y&other=%FF')
  let continued = 0
  const upperCase = (text: string) => text.toUpperCase()
  for (const name of ['dream', 'other', 'missing']) transformQuery(name, upperCase)({ query }, undefined, () => { continued++ })
  t.equal(continued, 3)
  t.same([query.dream, query.style], [' X ', ' y'])
  t.ok(query.other instanceof InvalidValue)
  t.notOk('missing' in query)
})
