import type { FastifyInstance } from 'fastify'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { VideoRenderer } from '../../replicate-emulator/video/video-renderer.ts'
import { styles } from '../../services/tasks/styles.ts'
import { createStoredVideo } from '../support/stored-video.ts'
import { partsOf, startStudio, untilTrue } from '../support/studio.ts'

/** Stores films of dreams that end with their number, with videos that can be played. */
async function storeFilms (t: Test, app: FastifyInstance, count: number): Promise<void> {
  const renderer = new VideoRenderer()
  t.teardown(() => renderer.close())
  const content = await renderer.videoFor('A whale swims through the clouds')
  for (let number = 1; number <= count; number++) {
    const style = styles[number % styles.length]
    await createStoredVideo(app, { content, dream: `Dream number ${number}`, ...(style !== undefined && { style }) })
  }
}

/** Scrolls down until there are so many cards. */
async function scrollTo (page: Page, count: number): Promise<void> {
  await until(async () => {
    await page.mouse.wheel(0, 2_000)
    return await partsOf(page).cards.count() >= count
  }, `${count} films`, { intervalMs: 100 })
}

/** Videos that play although no part of them is on the screen, and those on the screen that play. */
const readPlaying = (page: Page) => page.evaluate(`(() => {
  const playing = [...document.querySelectorAll('film-card video')].filter((video) => !video.paused)
  const isSeen = (video) => { const { top, bottom } = video.getBoundingClientRect(); return bottom > 0 && top < innerHeight }
  return { seen: playing.filter(isSeen).length, unseen: playing.filter((video) => !isSeen(video)).length }
})()`) as Promise<{ seen: number, unseen: number }>

t.test('the wall goes on as far as one scrolls, and only films on the screen play', async (t) => {
  const { app, complaints, open, context } = await startStudio(t)
  await storeFilms(t, app, 75)
  let lists = 0
  context.on('request', (request) => { if (/video-status\?/.test(request.url())) lists++ })
  const page = await open()
  const { cards } = partsOf(page)
  await cards.nth(29).waitFor({ state: 'attached' })
  t.ok(await cards.count() < 75, 'not all are loaded at once')
  await until(async () => { const { seen, unseen } = await readPlaying(page); return seen > 0 && unseen === 0 }, 'the films on the screen to play')
  await scrollTo(page, 75)
  t.equal(await cards.count(), 75)
  t.ok(lists <= 6, 'no page of the list is loaded twice')
  t.same(await page.evaluate('[...document.querySelectorAll("film-card .dream")].map((element) => element.textContent)'),
    Array.from({ length: 75 }, (_, index) => `Dream number ${75 - index}`), 'newest first')
  await page.getByRole('link', { name: 'Dream number 1', exact: false }).last().scrollIntoViewIfNeeded()
  await until(async () => { const { seen, unseen } = await readPlaying(page); return seen > 0 && unseen === 0 }, 'those that were played before to stop')
  t.same(complaints, [])
})

t.test('the wall is filtered by state and by style, and searched', async (t) => {
  const { app, emulator, complaints, open } = await startStudio(t)
  await storeFilms(t, app, 60)
  emulator.addOutcome({ status: 'failed', times: 1 })
  await app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'One that fails', style: 'Cursed' } })
  const page = await open()
  const { cards, cardsIn } = partsOf(page)
  const shown = page.locator('film-card:not([hidden])')
  await cardsIn('failed').waitFor()
  await page.getByRole('combobox', { name: 'State' }).selectOption('failed')
  await untilTrue(page, 'document.querySelectorAll("film-card:not([hidden])").length === 1')
  t.match(await shown.innerText(), /One that fails/)
  await page.getByRole('combobox', { name: 'State' }).selectOption('completed')
  await page.getByRole('combobox', { name: 'Style' }).selectOption('Animated')
  await untilTrue(page, 'document.querySelectorAll("film-card:not([hidden])").length === 20')
  t.equal(await page.locator('film-card:not([hidden])[data-style=Animated]').count(), 20, 'also those that were not loaded before')
  await page.getByRole('combobox', { name: 'State' }).selectOption('pending')
  await page.getByText('No film is like that.').waitFor()
  t.equal(await shown.count(), 0)
  for (const name of ['State', 'Style']) await page.getByRole('combobox', { name }).selectOption({ index: 0 })
  await page.getByRole('searchbox').fill('number 4')
  await until(async () => await shown.count() > 0, 'some that are found')
  for (const text of await shown.allInnerTexts()) t.match(text, /number 4/)
  await page.getByText(/^\d+ of \d+ loaded films match “number 4”\.$/).waitFor()
  await page.getByRole('searchbox').fill('')
  await until(async () => await shown.count() === await cards.count(), 'all of them')
  t.same(complaints, [])
})

t.test('the page is small, asks for nothing twice, and nothing in it moves while it is loaded', async (t) => {
  const { app, url, context, complaints, open } = await startStudio(t, { context: { viewport: { width: 1280, height: 800 } } })
  await storeFilms(t, app, 500)
  await context.addInitScript(`
    globalThis.shift = 0
    globalThis.longest = 0
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift += entry.value }).observe({ type: 'layout-shift', buffered: true })
    new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) longest = Math.max(longest, duration) }).observe({ type: 'longtask', buffered: true })
  `)
  const sizes = new Map<string, number>()
  const asked: string[] = []
  context.on('requestfinished', async (request) => {
    const path = request.url().slice(url.length)
    if (/^\/(video-status|videos)\b/.test(path)) return
    asked.push(path)
    const { responseBodySize, responseHeadersSize } = await request.sizes()
    sizes.set(path, responseBodySize + responseHeadersSize)
  })
  const page = await open()
  await partsOf(page).cardsIn('completed').locator('video.shown').first().waitFor()
  await page.evaluate('document.fonts.ready.then(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))')
  await until(() => sizes.size === asked.length, 'the sizes')
  const isFont = (path: string): boolean => path.endsWith('.woff2')
  const sum = (paths: string[]): number => paths.reduce((total, path) => total + (sizes.get(path) ?? 0), 0)
  t.same(asked.toSorted(), [...new Set(asked)].toSorted(), 'nothing is asked for twice')
  t.equal(asked.filter(isFont).length, 1)
  const [text, font] = [sum(asked.filter((path) => !isFont(path))), sum(asked.filter(isFont))]
  t.ok(text > 10_000 && text < 60_000, `${text} bytes without the font`)
  t.ok(font > 10_000 && font < 45_000, `${font} bytes of the font`)
  const shift = Number(await page.evaluate('shift'))
  t.ok(shift < 0.02, `layout shift of ${shift}`)
  await scrollTo(page, 500)
  t.comment(`longest task with 500 films: ${await page.evaluate('longest')} ms; ${text} bytes of text, ${font} of font, shift ${shift}`)
  t.ok(await page.locator('film-card video').count() < 100, 'videos far from the screen are given up')
  t.same(complaints, [])
})
