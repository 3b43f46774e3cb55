import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { startService } from '../support/service.ts'
import { startStudioProxy, type Streams } from '../support/studio-proxy.ts'
import { openBrowser, partsOf, tellDream, untilTrue, watch } from '../support/studio.ts'

const dream = 'A night train crosses a lake'

/** The page behind a proxy, with an endless film in the making. */
async function startBehindProxy (t: Test, streams?: Streams) {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 } })
  const proxy = await startStudioProxy(t, await app.listen({ port: 0, host: '127.0.0.1' }), streams)
  const browser = await openBrowser(t, proxy.url, { expected: /net::ERR_/ })
  const requests: string[] = []
  browser.context.on('request', (request) => requests.push(`${request.headers().prefer ?? ''} ${request.url()}`))
  const page = await browser.open()
  await tellDream(page, dream)
  await partsOf(page).cards.first().waitFor()
  const prediction = await until(() => emulator.log.all[0], 'the prediction')
  return { ...browser, page, proxy, requests, emulator, end: () => emulator.end(prediction, { status: 'succeeded' }) }
}

t.test('the page says that the server is lost, and shows the film when it is back', async (t) => {
  const { page, proxy, emulator, complaints, end } = await startBehindProxy(t)
  const { cards, cardsIn, connection } = partsOf(page)
  await cardsIn('processing').waitFor()
  proxy.cut()
  await connection.getByText('The server cannot be reached. Your film goes on being made; this page looks again every few seconds.').waitFor()
  t.equal(await cards.count(), 1, 'the film stays on the wall')
  end()
  await proxy.restore()
  await watch(page)
  await untilTrue(page, 'document.querySelector("#connection").textContent === ""')
  t.equal(emulator.predictions.length, 1)
  t.same(complaints, [])
})

t.test('a page that was opened while the network is gone for a moment makes one film of a dream that was sent twice', async (t) => {
  const { page, proxy, emulator, complaints, end } = await startBehindProxy(t)
  const { field, make, cards, connection } = partsOf(page)
  end()
  await watch(page)
  proxy.cut()
  await tellDream(page, 'Snow falls upwards')
  await page.getByRole('alert').getByText('The server cannot be reached.').waitFor()
  t.equal(await connection.innerText(), 'The server cannot be reached. This page looks again every few seconds.')
  t.equal(await field.inputValue(), 'Snow falls upwards', 'the dream is not lost')
  await proxy.restore()
  await make.click()
  await cards.nth(1).waitFor()
  await until(() => emulator.predictions.length === 2, 'the second prediction')
  await untilTrue(page, 'document.querySelector("#connection").textContent === ""')
  t.equal(await field.inputValue(), '')
  t.same(complaints, [])
})

for (const streams of ['hold body', 'hold all'] as const) {
  t.test(`where a proxy holds streams back (${streams}), the page asks again and again until the film is ready`, async (t) => {
    const { page, requests, complaints, end } = await startBehindProxy(t, streams)
    const isLongPoll = (request: string): boolean => request.startsWith('wait=')
    await until(() => requests.some(isLongPoll), 'a long-poll')
    t.ok(requests.some((request) => request.endsWith('/events')), 'it has tried a stream before')
    await partsOf(page).cardsIn('processing').waitFor()
    end()
    await watch(page)
    t.equal(await partsOf(page).connection.innerText(), '')
    t.same(complaints, [])
  })
}
