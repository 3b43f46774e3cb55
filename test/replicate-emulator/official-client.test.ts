import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import Replicate, { validateWebhook } from 'replicate'
import t from 'tap'
import { runningEmulator } from './running-emulator.ts'

const model = 'luma/ray'
const input = { prompt: 'a dream' }

t.test('the official client creates a prediction and waits for its video', async (t) => {
  const { origin } = await runningEmulator(t)
  const replicate = new Replicate({ auth: 'test-token', baseUrl: `${origin}/v1` })
  const created = await replicate.predictions.create({ model, input })
  t.equal(created.status, 'starting')
  const ended = await replicate.wait(created, { interval: 20 })
  t.equal(ended.status, 'succeeded')
  t.equal(ended.output, `${origin}/files/${created.id}/output.mp4`)
})

t.test('the official client runs a model in one call', async (t) => {
  const { origin } = await runningEmulator(t)
  const replicate = new Replicate({ auth: 'test-token', baseUrl: `${origin}/v1` })
  t.match(await replicate.run(model, { input }), /^http:.*\.mp4$/)
})

t.test('the official client pages through a list, newest first', async (t) => {
  const { origin, emulator } = await runningEmulator(t)
  const replicate = new Replicate({ auth: 'test-token', baseUrl: `${origin}/v1` })
  for (let number = 0; number < 101; number++) await replicate.predictions.create({ model, input })
  const pages = []
  for await (const page of replicate.paginate(replicate.predictions.list)) pages.push(page.map(({ id }) => id))
  t.same(pages.map(({ length }) => length), [100, 1])
  t.same(pages.flat(), emulator.predictions.map(({ id }) => id).reverse())
})

t.test('the official client cancels a prediction', async (t) => {
  const { origin } = await runningEmulator(t, { generationMs: 60_000 })
  const replicate = new Replicate({ auth: 'test-token', baseUrl: `${origin}/v1` })
  const { id } = await replicate.predictions.create({ model, input })
  t.equal((await replicate.predictions.cancel(id)).status, 'canceled')
  t.equal((await replicate.predictions.get(id)).status, 'canceled')
})

t.test('the official client validates the signature of a webhook', async (t) => {
  const { origin } = await runningEmulator(t, { allowHttpWebhooks: true })
  const replicate = new Replicate({ auth: 'test-token', baseUrl: `${origin}/v1` })
  const received: Array<{ headers: IncomingMessage['headers'], body: string }> = []
  const receiver = createServer((request, response) => {
    text(request).then((body) => {
      received.push({ headers: request.headers, body })
      response.end()
      receiver.emit('webhook')
    }).catch(t.fail)
  }).listen(0, '127.0.0.1')
  t.teardown(() => { receiver.close() })
  await once(receiver, 'listening')
  const address = receiver.address()
  if (address === null || typeof address === 'string') throw new Error('Expected a port')
  const webhook = `http://127.0.0.1:${address.port}/`
  const created = await replicate.predictions.create({ model, input, webhook, webhook_events_filter: ['completed'] })
  if (received.length === 0) await once(receiver, 'webhook')
  const [{ headers, body } = { headers: {}, body: '' }] = received
  const { key } = await replicate.webhooks.default.secret.get()
  const signed = {
    id: String(headers['webhook-id']),
    timestamp: String(headers['webhook-timestamp']),
    signature: String(headers['webhook-signature']),
    secret: key
  }
  t.equal(await validateWebhook({ ...signed, body }), true)
  t.equal(await validateWebhook({ ...signed, body: `${body} ` }), false)
  t.match(JSON.parse(body), { id: created.id, status: 'succeeded' })
})
