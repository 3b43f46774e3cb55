import { readFile } from 'node:fs/promises'
import t from 'tap'
import { AnswerCheck } from '../../fuzz/answer-check.ts'
import { checkCaller } from '../../fuzz/callers.ts'
import { canary, encodeHostile } from '../../fuzz/hostile-text.ts'
import { LogCheck } from '../../fuzz/log-check.ts'
import { mutate } from '../../fuzz/mutations.ts'
import { listOperations, type OpenApiDocument } from '../../fuzz/openapi-operations.ts'
import { readPlan } from '../../fuzz/plan.ts'
import { startService } from '../support/service.ts'

const document = JSON.parse(await readFile(new URL('../../openapi.json', import.meta.url), 'utf8')) as OpenApiDocument

t.test('an answer is accepted only as the document describes it', async (t) => {
  const check = new AnswerCheck(document)
  const operation = listOperations(document).find(({ operationId }) => operationId === 'getVideoStatus')
  if (operation === undefined) throw new Error('There is no getVideoStatus')
  const { app } = await startService(t)
  const { statusCode: status, headers, rawPayload: body } = await app.inject('/video-status/none')
  const answer = { status, headers: Object.entries(headers).map(([name, value]) => [name, String(value)] as const), body }
  const withBody = (changes: object) => ({ ...answer, body: Buffer.from(JSON.stringify({ ...JSON.parse(body.toString()), ...changes })) })

  check.checkAny(answer, false)
  check.checkOperation(operation, answer, false)
  t.throws(() => check.checkAny({ ...answer, status: 500 }, false), { message: /The status is 500/ })
  t.throws(() => check.checkAny({ ...answer, headers: [] }, false), { message: /X-Request-Id/ })
  t.throws(() => check.checkAny({ ...answer, headers: [...answer.headers, ['x-injected', 'yes']] }, false), { message: /could write a header/ })
  t.throws(() => check.checkAny(withBody({ code: 'unknown' }), false), { message: /does not fit its schema/ })
  t.throws(() => check.checkAny(withBody({ status: 410 }), false), { message: /has the status 404/ })
  t.throws(() => check.checkAny(withBody({ code: 'store_unavailable' }), false), { message: /store_unavailable has the status 404/ })
  t.throws(() => check.checkAny(withBody({ errors: [{ loc: [], msg: '', type: '' }] }), false), { message: /with faults/ })
  t.throws(() => check.checkOperation(operation, withBody({ code: 'video_not_found' }), false), { message: /does not have the code video_not_found/ })
  t.throws(() => check.checkOperation(operation, { ...answer, status: 202 }, false), { message: /does not have the status 202/ })
  t.throws(() => check.checkOperation(operation, { ...answer, status: 304 }, false), { message: /no content with 304/ })
  const json = { ...answer, status: 200, headers: [['content-type', 'application/json']] as const }
  t.throws(() => check.checkOperation(operation, json, false), { message: /does not fit its schema: data must have required property/ })
  t.throws(() => check.checkOperation(operation, { ...json, headers: [['content-type', 'text/html']] }, false), { message: /does not have the type text\/html/ })
})

t.test('a log entry has to be one line of JSON without what clients sent', async (t) => {
  const faultOf = (...lines: string[]) => {
    const log = new LogCheck(['a-secret'])
    for (const line of lines) log.write(line)
    try {
      log.check()
    } catch (error) {
      return String(error)
    }
  }
  const line = '{"level":30,"time":1,"msg":"request"}\n'
  t.equal(faultOf(line, line), undefined)
  t.match(faultOf(line.trim()), /not one line/)
  t.match(faultOf(line, line + line), /not one line/)
  t.match(faultOf('{"level":30,\n'), /not JSON/)
  t.match(faultOf('{"level":30}\n'), /lacks its members/)
  t.match(faultOf(line.replace('request', canary)), /what a client sent/)
  t.match(faultOf(line.replace('request', 'a-secret')), /contains a secret/)
})

t.test('a caller may get only what is its own', (t) => {
  const operations = Object.fromEntries(listOperations(document).map((operation) => [operation.operationId, operation]))
  const faultOf = (kind: 'owner' | 'other' | 'refused', operationId: string, status: number, text = '', headers: Array<[string, string]> = [['www-authenticate', 'Bearer']]) => {
    try {
      checkCaller(kind, operations[operationId], { status, headers, body: Buffer.from(text) }, ['the-task'], ['a-secret'])
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }
  t.equal(faultOf('owner', 'getVideoStatus', 200, 'the-task'), undefined)
  t.equal(faultOf('refused', 'getVideoStatus', 401), undefined)
  t.equal(faultOf('refused', 'getReadiness', 200), undefined)
  t.equal(faultOf('refused', 'getVideo', 200), undefined)
  t.equal(faultOf('other', 'getVideoStatus', 404), undefined)
  t.equal(faultOf('other', 'generateVideo', 200, 'another-task'), undefined)
  t.match(faultOf('owner', 'getVideoStatus', 200, 'a-secret'), /contains a key/)
  t.match(faultOf('other', 'getVideo', 404, '', [['x', 'a-secret']]), /contains a key/)
  t.match(faultOf('refused', 'getVideoStatus', 401, '', []), /does not say what it needs/)
  for (const status of [200, 404, 409, 422]) t.match(faultOf('refused', 'cancelVideo', status), /without a valid key/)
  for (const status of [200, 204, 304, 409, 410]) t.match(faultOf('other', 'deleteVideo', status), /another key does not have/)
  t.match(faultOf('other', 'getVideoStatus', 401), /refuses a valid key/)
  for (const operationId of ['listVideoStatuses', 'generateVideo']) t.match(faultOf('other', operationId, 200, 'the-task'), /names a task of another key/)
  t.end()
})

t.test('requests are changed as the plan says', (t) => {
  const request = Buffer.from('0123456789')
  const changed = (...changes: Parameters<typeof mutate>[1]) => mutate(request, changes).toString()
  t.equal(changed({ kind: 'insert', at: 5_001, text: 'x' }), '01234x56789')
  t.equal(changed({ kind: 'overwrite', at: 0, text: 'xy' }), 'xy23456789')
  t.equal(changed({ kind: 'remove', at: 5_001, length: 2 }), '01234789')
  t.equal(changed({ kind: 'repeat', at: 0, length: 2, times: 2 }), '01010123456789')
  t.equal(changed({ kind: 'cut', at: 5_001 }, { kind: 'insert', at: 0, text: 'x' }), 'x01234')
  t.end()
})

t.test('hostile texts are percent-encoded, lone surrogates as well', (t) => {
  t.equal(encodeHostile('a b\u0000é\u{1f40b}\ud800'), 'a%20b%00%C3%A9%F0%9F%90%8B%ED%A0%80')
  t.end()
})

t.test('arguments that are not valid are refused', (t) => {
  t.match(readPlan(['--seconds', '20', '--seed', '5', '--property', 'bytes', '--path', '1:2']), { seconds: 20, seed: 5, property: 'bytes', path: '1:2' })
  t.match(readPlan([]), { seconds: 120, property: undefined })
  for (const args of [['--seconds', '-1'], ['--seconds', 'x'], ['--property', 'none'], ['--path', '1'], ['--other']]) t.throws(() => readPlan(args))
  t.end()
})
