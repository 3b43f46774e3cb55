import fc from 'fast-check'
import { canary, encodeHostile, hostileText } from './hostile-text.ts'
import type { Operation } from './openapi-operations.ts'

/** A request, before the names of tasks and files in it are replaced by those of the run. */
export interface RequestPlan {
  /** what is requested, if the answer can be compared with the document */
  operation: Operation | undefined
  method: string
  /** the path and the query as they are sent */
  target: string
  headers: Array<readonly [string, string]>
  body: string | undefined
}

/** Replaced when the request is sent, so that a plan means the same in a repeated run. */
export const placeholders = ['TASK-ENDED', 'TASK-RECENT', 'TASK-OLD', 'VIDEO-NAME'] as const
export type Placeholder = typeof placeholders[number]

/** Values that a route understands. Callbacks go to a port of this machine at which nothing listens. */
const sensible: Record<string, readonly string[]> = {
  task_id: ['TASK-ENDED', 'TASK-RECENT', 'TASK-OLD', '00000000-0000-7000-8000-000000000000'],
  name: ['VIDEO-NAME', 'VIDEO-NAME', 'AAAAAAAAAAAAAAAAAAAAAA.mp4'],
  dream: [`A whale in the clouds, ${canary}`, canary, `\u202e${canary}\u0634\u0631\u0642`],
  callback_url: ['http://127.0.0.1:9/done', 'https://127.0.0.1:9/', 'http://[::1]:9/', 'http://127.0.0.1:9/\r\nX-Injected: yes', 'ftp://127.0.0.1/', 'javascript:alert(1)', 'http://a:b@127.0.0.1:9/', '//127.0.0.1', ''],
  prefer: ['respond-async', 'wait=1', 'respond-async, wait=0', 'wait=-1', 'wait'],
  'idempotency-key': ['key', '"key"', 'key-2', 'x'.repeat(256)],
  'if-none-match': ['"1"', '*', 'W/"5"', '"VIDEO-NAME"'],
  'if-range': ['"VIDEO-NAME"', 'Wed, 21 Oct 2015 07:28:00 GMT'],
  'if-modified-since': ['Wed, 21 Oct 2015 07:28:00 GMT', 'Fri, 01 Jan 2100 00:00:00 GMT'],
  'last-event-id': ['0', '3', '99'],
  range: ['bytes=0-1', 'bytes=-5', 'bytes=999999999-', 'bytes=0-1,5-6', 'bytes=5-1'],
  style: ['Realistic', 'Animated', 'Cursed'],
  status: ['completed', 'failed', 'pending', 'Realistic'],
  limit: ['1', '100', '0', '1000000000000'],
  cursor: ['AAAA'],
  download: ['1', '0']
}

/** Headers that no operation names. */
const strangeHeaders = [
  'accept', 'accept-encoding', 'accept-language', 'authorization', 'content-encoding', 'content-type', 'cookie', 'expect', 'forwarded', 'if-match',
  'if-unmodified-since', 'origin', 'referer', 'sec-fetch-site', 'te', 'trailer', 'traceparent', 'upgrade', 'via', 'x-forwarded-for', 'x-forwarded-host',
  'x-forwarded-proto', 'x-http-method-override', 'x-request-id', '__proto__', 'constructor'
] as const

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY', 'get'] as const

/** Addresses that the document does not describe. */
const otherPaths = ['/', '/openapi.json', '/docs', '/docs/', '/docs/json', '/docs/yaml', '/docs/static/index.html', '/docs/static/../../package.json', '/webhooks/replicate/TASK-ENDED', '/metrics', '/%', '//', '/video-status//events', '*', 'http://127.0.0.1/livez'] as const

const strangeEntries: fc.Arbitrary<Array<[string, string]>> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Array<[string, string]>>([]) },
  { weight: 1, arbitrary: fc.array(fc.tuple(fc.constantFrom(...strangeHeaders), hostileText), { minLength: 1, maxLength: 3 }) }
)

const bodies = fc.oneof(
  { weight: 5, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.oneof(hostileText, fc.json(), fc.constant('{"__proto__":{"polluted":1}}'), fc.constant('x'.repeat(1_100_000))) }
)

/** Requests for the operations of the document, and some for other addresses: with sensible values, hostile ones, or both. */
export function requestPlans (operations: readonly Operation[]): fc.Arbitrary<RequestPlan> {
  return fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...operations).chain(requestsOf) },
    { weight: 1, arbitrary: otherRequests() }
  )
}

function requestsOf (operation: Operation): fc.Arbitrary<RequestPlan> {
  const named = (place: string) => operation.parameters.filter((parameter) => parameter.in === place)
  return fc.record({
    path: fc.tuple(...named('path').map(({ name }) => valueOf(name, 6, operation))),
    query: queries(named('query'), operation),
    headers: entries(named('header'), operation),
    strange: strangeEntries,
    body: bodies,
    isHead: fc.nat(4).map((dice) => dice === 0)
  }).map(({ path, query, headers, strange, body, isHead }) => ({
    // An empty value is another path.
    operation: path.includes('') ? undefined : operation,
    method: operation.method === 'GET' && isHead && path.length > 0 ? 'HEAD' : operation.method,
    target: fillPath(operation.path, path) + formatQuery(query),
    headers: [...headers, ...strange].map(([name, value]) => [name, toHeaderValue(value)] as const),
    body
  }))
}

function otherRequests (): fc.Arbitrary<RequestPlan> {
  return fc.record({
    method: fc.constantFrom(...methods),
    path: fc.oneof(fc.constantFrom(...otherPaths), hostileText.map((text) => `/${encodeHostile(text)}`)),
    query: queries([]),
    strange: strangeEntries,
    body: bodies
  }).map(({ method, path, query, strange, body }) => ({
    operation: undefined, method, target: path + formatQuery(query), headers: strange.map(([name, value]) => [name, toHeaderValue(value)] as const), body
  }))
}

/** Each parameter mostly once if it is required, but also not at all or twice. */
function entries (parameters: Operation['parameters'], operation?: Operation): fc.Arbitrary<Array<[string, string]>> {
  return fc.tuple(...parameters.map(({ name, isRequired }) => {
    const value = valueOf(name, isRequired ? 8 : 3, operation)
    const values = fc.oneof(
      { weight: isRequired ? 8 : 3, arbitrary: fc.tuple(value) },
      { weight: isRequired ? 1 : 6, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.tuple(value, value) }
    )
    return values.map((list: readonly string[]) => list.map((text): [string, string] => [name, text]))
  })).map((lists) => lists.flat())
}

/** Now and then with a parameter that no operation has, or with one a thousand times. */
function queries (parameters: Operation['parameters'], operation?: Operation): fc.Arbitrary<Array<[string, string]>> {
  const unknown = fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.tuple(fc.tuple(hostileText, hostileText)) })
  const many = fc.nat(19).map((dice) => Array.from({ length: dice === 19 ? 1_100 : 0 }, (): [string, string] => ['dream', 'x']))
  return fc.tuple(entries(parameters, operation), unknown, many).map((lists) => lists.flat())
}

/** @param weight of a sensible value, against 2 for a hostile one */
function valueOf (name: string, weight: number, operation?: Operation): fc.Arbitrary<string> {
  const values = sensible[name] ?? ['x']
  // The task whose video is requested must stay.
  const known = fc.constantFrom(...operation?.method === 'DELETE' ? values.filter((value) => value !== 'TASK-ENDED') : values)
  // A hostile address could be that of another machine.
  return name === 'callback_url' ? known : fc.oneof({ weight, arbitrary: known }, { weight: 2, arbitrary: hostileText })
}

function fillPath (template: string, values: string[]): string {
  const left = [...values]
  return template.replace(/\{\w+\}/g, () => encodeHostile(left.shift() ?? ''))
}

function formatQuery (entries: Array<[string, string]>): string {
  return entries.length === 0 ? '' : `?${entries.map(([name, value]) => `${encodeHostile(name)}=${encodeHostile(value)}`).join('&')}`
}

/** @returns the bytes of a text that a header may have. The others reach no route; mutations insert them. */
export function toHeaderValue (text: string): string {
  // eslint-disable-next-line no-control-regex -- these are what must not be sent
  return Buffer.from(text).toString('latin1').replace(/[\0-\x08\n-\x1f\x7f]/g, ' ')
}
