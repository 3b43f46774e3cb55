import t from 'tap'
import { errors } from '../../errors.ts'
import { parseWaitSeconds } from '../../services/http/prefer.ts'
import { parsePrefer } from '../../services/http/prefer.ts'
import { listenRaw, readAnswer } from '../support/raw-exchange.ts'
import { ended, postDream, startService } from '../support/service.ts'

t.test('a dream without a visible character is 422, one of joined emoji or right-to-left text is accepted', async (t) => {
  const { app } = await startService(t)
  const post = (dream: string) => app.inject({ method: 'POST', url: '/generate-video', query: { dream, style: 'Cursed' } })
  for (const dream of ['\u200b', '\u200b \u200d', '\u0001\u0007', '\u3164', '\u2800', '\u2060\ufeff', '\u{e0041}']) {
    t.match((await post(dream)).json(), { status: 422, errors: [{ loc: ['query', 'dream'], type: 'invisible', msg: 'must contain a visible character' }] })
  }
  for (const dream of ['👩‍🚀', '\u200fחלום', '.', '❤️']) t.equal((await post(dream)).statusCode, 200)
})

t.test('a client that sends the parameters in a body is told where they belong', async (t) => {
  const { app } = await startService(t)
  const response = await app.inject({ method: 'POST', url: '/generate-video?style=Cursed', payload: { dream: 'A whale' } })
  t.match(response.json(), { status: 422, detail: 'dream is required as a query parameter; the body is ignored', errors: [{ type: 'missing' }] })
  t.match((await app.inject({ method: 'POST', url: '/generate-video?style=Cursed' })).json(), { detail: 'dream is required' })
})

t.test('a deletion accepts an empty body with the Content-Type of JSON', async (t) => {
  const { app } = await startService(t)
  const { task_id: id } = await ended(app, await postDream(app))
  const response = await app.inject({ method: 'DELETE', url: `/video-status/${id}`, headers: { 'content-type': 'application/json' } })
  t.equal(response.statusCode, 204)
})

t.test('HEAD claims no applied preference, and a Last-Event-ID of many digits is accepted', async (t) => {
  const { app } = await startService(t)
  const { task_id: id } = await ended(app, await postDream(app))
  const head = await app.inject({ method: 'HEAD', url: `/video-status/${id}`, headers: { prefer: 'wait=5' } })
  t.equal(head.headers['preference-applied'], undefined)
  const events = await app.inject({ url: `/video-status/${id}/events`, headers: { 'last-event-id': '9'.repeat(18) } })
  t.equal(events.statusCode, 204)
})

t.test('preferences are parsed as RFC 7240 defines them', async (t) => {
  t.equal(parseWaitSeconds('wait=99999999999999'), 60)
  t.equal(parseWaitSeconds(`wait=${'9'.repeat(400)}`), 60)
  t.equal(parseWaitSeconds('wait=-1'), undefined)
  t.same([...parsePrefer('a="x, wait=3", wait=7')], [['a', 'x, wait=3'], ['wait', '7']])
})

t.test('a 401 names how to authenticate', async (t) => {
  t.match(errors.webhook_not_authentic.headers, { 'www-authenticate': /\w/ })
})

t.test('an ignored body is read to its end, and is 413 over the limit, with or without Content-Length', async (t) => {
  const { app } = await startService(t)
  const open = await listenRaw(t, app)
  const head = 'POST /generate-video?dream=x&style=Cursed HTTP/1.1\r\nHost: localhost\r\n'
  const socket = await open()
  socket.write(`${head}Content-Type: x\r\nContent-Length: 900000\r\n\r\n${'a'.repeat(900_000)}`)
  t.equal((await readAnswer(socket)).status, 200)
  socket.write(`${head}Content-Length: 1048577\r\n\r\n`)
  t.match(await readAnswer(socket), { status: 413, body: /payload_too_large/ })
  const chunked = await open()
  chunked.on('error', () => {})
  chunked.write(`${head}Transfer-Encoding: chunked\r\n\r\n200000\r\n${'a'.repeat(2 * 1024 * 1024)}`)
  t.match(await readAnswer(chunked), { status: 413, body: /payload_too_large/ })
})
