import t from 'tap'
import { until } from '../../harness/until.ts'
import { takePicture } from '../support/chromium.ts'
import { partsOf, startStudio, tellDream, untilTrue, watch } from '../support/studio.ts'

const dream = 'A whale swims through the clouds'
const slow = { generationMs: 600_000 }

t.test('a dream becomes a playing video; title and announcements tell how far it is', async (t) => {
  const { emulator, complaints, open } = await startStudio(t, { emulator: { generationMs: 3_000 } })
  emulator.addOutcome({ status: 'succeeded', progress: true })
  const page = await open()
  const { field, cards, cardsIn, announcement } = partsOf(page)
  t.equal(await page.title(), 'Dreamreel')
  await page.getByRole('radio', { name: 'Animated' }).check()
  await field.fill(dream)
  await field.press('Control+Enter')
  await cards.first().waitFor()
  t.equal(await announcement.innerText(), 'Your dream is in line.')
  t.equal(await field.inputValue(), '', 'the field is ready for the next dream')
  await untilTrue(page, '/^[1-9]\\d? % · Dreamreel$/.test(document.title)')
  await cardsIn('processing').getByRole('progressbar').and(page.locator('[aria-valuenow]:not([aria-valuenow="0"])')).waitFor()
  t.match(await cardsIn('processing').innerText(), /Animated · In the making, \d+ %/)
  await cardsIn('completed').waitFor()
  await untilTrue(page, 'document.title === "Dreamreel"')
  t.equal(await announcement.innerText(), `Your film is ready: ${dream}`)
  t.match(await watch(page), { muted: true, loop: true, width: 360 })
  t.equal(await cards.count(), 1)
  t.match(emulator.predictions, [{ status: 'succeeded' }])
  await takePicture(page, 'studio-film')
  t.same(complaints, [])
})

t.test('the title of a hidden page says that the film is ready, until the page is visible again', async (t) => {
  const { emulator, complaints, open } = await startStudio(t, { emulator: slow })
  const page = await open()
  await tellDream(page, dream)
  await partsOf(page).cards.first().waitFor()
  const show = (state: string) => page.evaluate(`{
    Object.defineProperty(document, 'visibilityState', { value: '${state}', configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  }`)
  await show('hidden')
  const prediction = await until(() => emulator.log.all[0], 'the prediction')
  emulator.end(prediction, { status: 'succeeded' })
  await untilTrue(page, 'document.title === "Film ready · Dreamreel"')
  await show('visible')
  await untilTrue(page, 'document.title === "Dreamreel"')
  t.same(complaints, [])
})

t.test('a film is cancelled from its card', async (t) => {
  const { emulator, complaints, open } = await startStudio(t, { emulator: slow })
  const page = await open()
  const { cardsIn } = partsOf(page)
  await tellDream(page, dream)
  await cardsIn('processing').getByRole('button', { name: 'Cancel' }).click()
  await cardsIn('canceled').waitFor()
  t.match(await cardsIn('canceled').innerText(), /Cancelled/)
  await until(() => emulator.predictions[0]?.status === 'canceled' || emulator.predictions[0]?.status === 'aborted', 'the provider to be told')
  t.same(complaints, [])
})

t.test('a film is deleted with the second press only', async (t) => {
  const { app, complaints, open } = await startStudio(t)
  const page = await open()
  const { cards, cardsIn } = partsOf(page)
  await tellDream(page, dream)
  await cardsIn('completed').getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('button', { name: 'Press again to delete' }).waitFor()
  t.equal((await app.inject('/video-status')).json().items.length, 1)
  await page.getByRole('button', { name: 'Press again to delete' }).click()
  await cards.waitFor({ state: 'detached' })
  t.equal((await app.inject('/video-status')).json().items.length, 0)
  t.same(complaints, [])
})

t.test('a failure is told in the words of the service; "Try again" in two windows, pressed twice in each, makes one film', async (t) => {
  const { app, emulator, complaints, open } = await startStudio(t)
  emulator.addOutcome({ status: 'failed', error: 'The model raised an error.', times: 1 })
  const [page, other] = [await open(), await open()]
  await tellDream(page, dream)
  const failed = partsOf(page).cardsIn('failed')
  await failed.waitFor()
  const { error } = (await app.inject('/video-status')).json().items[0]
  t.ok((await failed.innerText()).includes(error), error)
  t.equal(await partsOf(page).announcement.innerText(), error)
  t.equal(await failed.getByRole('button', { name: 'Change the dream' }).count(), 0)
  await takePicture(page, 'studio-failed')
  await other.reload()
  const again = [page, other].map((window) => partsOf(window).cardsIn('failed').getByRole('button', { name: 'Try again' }))
  for (const button of again) await button.waitFor()
  // A script presses also what the page has made inert after the first press.
  await Promise.all(again.map((button) => button.evaluate((element) => { element.click(); element.click() })))
  for (const window of [page, other]) {
    await watch(window)
    t.equal(await partsOf(window).cards.count(), 2)
  }
  t.equal(await partsOf(page).cardsIn('failed').getByRole('button', { name: 'Try again' }).count(), 1)
  await again[0]?.click()
  await untilTrue(page, 'document.querySelector("#announcements").textContent === "The film is being made again."')
  t.equal(emulator.predictions.length, 2, 'the one that failed, and one more')
  t.equal((await app.inject('/video-status')).json().items.length, 2)
  t.same(complaints, [])
})

t.test('a dream that was refused is changed, not sent again', async (t) => {
  const { app, emulator, complaints, open } = await startStudio(t)
  emulator.addOutcome({ status: 'failed', error: 'NSFW content detected', times: 1 })
  const page = await open()
  const { field, cardsIn } = partsOf(page)
  await page.getByRole('radio', { name: 'Cursed' }).check()
  await tellDream(page, dream)
  const failed = cardsIn('failed')
  await failed.waitFor()
  const { error } = (await app.inject('/video-status')).json().items[0]
  t.ok((await failed.innerText()).includes(error), error)
  t.equal(await failed.getByRole('button', { name: 'Try again' }).count(), 0)
  await page.getByRole('radio', { name: 'Realistic' }).check()
  await failed.getByRole('button', { name: 'Change the dream' }).click()
  t.equal(await field.inputValue(), dream)
  t.ok(await page.getByRole('radio', { name: 'Cursed' }).isChecked())
  t.ok(await field.evaluate((element) => element.matches(':focus')))
  t.same(complaints, [])
})

t.test('a dream without words, or with too many, is refused at the field', async (t) => {
  const { emulator, complaints, open } = await startStudio(t)
  const page = await open()
  const { field, make } = partsOf(page)
  await make.click()
  await page.getByRole('alert').getByText('Tell a dream first.').or(page.getByText('Tell a dream first.')).first().waitFor()
  t.equal(await field.getAttribute('aria-invalid'), 'true')
  await field.fill('x'.repeat(2_001))
  await page.getByText('A dream has at most 2,000 characters. Take out 1.').waitFor()
  await page.getByText('2001 of 2000 characters').waitFor()
  await make.click()
  await field.fill('x'.repeat(2_000))
  t.equal(await field.getAttribute('aria-invalid'), 'false')
  t.equal(emulator.predictions.length, 0)
  t.same(complaints, [])
})

t.test('after a reload in the middle, the film is there again and is shown when it is ready', async (t) => {
  const { emulator, complaints, open } = await startStudio(t, { emulator: slow })
  const page = await open()
  const { cards, cardsIn } = partsOf(page)
  await tellDream(page, dream)
  await cardsIn('processing').waitFor()
  await page.reload()
  await cardsIn('processing').waitFor()
  const [prediction] = emulator.log.all
  if (prediction !== undefined) emulator.end(prediction, { status: 'succeeded' })
  await watch(page)
  t.equal(await cards.count(), 1)
  t.equal(emulator.predictions.length, 1)
  t.same(complaints, [])
})

t.test('a reload while the answer of the creation is awaited makes no second film', async (t) => {
  const { app, emulator, complaints, open } = await startStudio(t, { emulator: { generationMs: 1_000 } })
  const page = await open()
  let sent = 0
  await page.route('**/generate-video?*', async (route) => {
    // The service has the first request, but its answer does not arrive.
    if (++sent === 1) await route.fetch()
    else await route.continue()
  })
  await tellDream(page, dream)
  await until(() => emulator.predictions.length === 1, 'the prediction')
  await page.reload()
  await watch(page)
  t.equal(sent, 2, 'the page has asked again')
  t.equal(await partsOf(page).cards.count(), 1)
  t.equal(emulator.predictions.length, 1)
  t.equal((await app.inject('/video-status')).json().items.length, 1)
  await page.reload()
  await watch(page)
  t.equal(sent, 2, 'it has not asked a third time')
  t.same(complaints, [])
})

t.test('a creation whose answer was awaited long ago is not sent by itself, but stands in the form', async (t) => {
  const { emulator, complaints, open, context } = await startStudio(t)
  // As in a tab that the browser brings back after an hour.
  const stored = { dream, style: 'Cursed', idempotencyKey: 'of-an-hour-ago', isSent: true, storedAt: Date.now() - 3_600_000 }
  await context.addInitScript(`if (location.protocol === 'http:') sessionStorage.setItem('dreamreel.creation', ${JSON.stringify(JSON.stringify(stored))})`)
  const page = await open()
  const { field, cards } = partsOf(page)
  await untilTrue(page, `document.querySelector('#dream').value === ${JSON.stringify(dream)}`)
  await page.getByText('Nothing has been dreamt here yet.').waitFor()
  t.equal(emulator.predictions.length, 0)
  await field.press('Control+Enter')
  await cards.first().waitFor()
  t.same(complaints, [])
})

t.test('where motion is not wanted, films wait for a press', async (t) => {
  const { complaints, open } = await startStudio(t, { context: { reducedMotion: 'reduce' } })
  const page = await open()
  const { cardsIn, theatre } = partsOf(page)
  await tellDream(page, dream)
  await untilTrue(page, 'document.querySelector("film-card video")?.readyState >= 2')
  const read = (selector: string) => page.locator(selector).evaluate((element) => ({ paused: element.paused, currentTime: element.currentTime }))
  t.same(await read('film-card video'), { paused: true, currentTime: 0 })
  await cardsIn('completed').getByRole('link').first().click()
  await untilTrue(page, 'document.querySelector("dialog video")?.readyState >= 2')
  t.same(await read('dialog video'), { paused: true, currentTime: 0 })
  await theatre.locator('video').focus()
  await page.keyboard.press('Space')
  await watch(page, 'dialog video')
  t.same(complaints, [])
})
