import type { Page } from 'playwright-core'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { takePicture } from '../support/chromium.ts'
import { partsOf, startStudio, tellDream, untilTrue, watch } from '../support/studio.ts'

const dream = 'I run late for an exam in a house that has no doors, and Donaudampfschifffahrtsgesellschaftskapitäne.wait(for.me)'
const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }

/** Presses Tab until the focus is on an element that matches. @returns how often */
async function tabTo (page: Page, selector: string): Promise<number> {
  for (let presses = 1; presses <= 40; presses++) {
    await page.keyboard.press('Tab')
    if (await page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`) === true) return presses
  }
  throw new Error(`Tab does not lead to ${selector}`)
}

t.test('a film is made and watched with the keyboard alone, and the focus returns to it', async (t) => {
  const { complaints, open, emulator } = await startStudio(t)
  const page = await open()
  const { cardsIn, theatre } = partsOf(page)
  t.ok(await tabTo(page, '#dream') <= 6, 'little stands before the field')
  await page.keyboard.type(dream)
  await tabTo(page, 'input[name=style]')
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowRight')
  t.ok(await page.getByRole('radio', { name: 'Cursed' }).isChecked())
  await page.keyboard.press('Control+Enter')
  await cardsIn('completed').waitFor()
  t.equal(emulator.predictions.length, 1)
  const id = await cardsIn('completed').getAttribute('data-id')
  await tabTo(page, `film-card[data-id="${id}"] a[href^="#/"]`)
  await page.keyboard.press('Enter')
  await theatre.waitFor()
  t.equal(new URL(page.url()).hash, `#/${id}`)
  t.equal(await page.getByRole('dialog', { name: dream }).count(), 1)
  t.equal(await theatre.locator('video').getAttribute('controls'), '')
  await tabTo(page, 'dialog video')
  await untilTrue(page, '!document.querySelector("dialog video").paused')
  // The first press can come before the browser has made its controls.
  await until(async () => {
    if (await page.evaluate('document.querySelector("dialog video").paused') === true) return true
    await page.keyboard.press('Space')
    return false
  }, 'the film to pause', { intervalMs: 500 })
  await page.keyboard.press('Escape')
  await theatre.waitFor({ state: 'detached' })
  await untilTrue(page, `document.activeElement.matches('film-card[data-id="${id}"] a')`)
  t.equal(new URL(page.url()).hash, '')
  t.same(complaints, [])
})

t.test('the address of a film opens its theatre in a new window, and Back closes it', async (t) => {
  const { complaints, open } = await startStudio(t, { expected: /status of 404/ })
  const page = await open()
  await tellDream(page, dream)
  await partsOf(page).cardsIn('completed').getByRole('link').first().click()
  await watch(page, 'dialog video')
  await page.goBack()
  await partsOf(page).theatre.waitFor({ state: 'detached' })
  await page.goForward()
  await watch(page, 'dialog video')
  const other = await open(new URL(page.url()).hash)
  await watch(other, 'dialog video')
  t.equal(await other.getByRole('dialog', { name: dream }).count(), 1)
  await other.getByRole('button', { name: 'Close' }).click()
  await partsOf(other).theatre.waitFor({ state: 'detached' })
  const lost = await open('#/0198c0de-0000-7000-8000-000000000000')
  await lost.getByText('There is no such film, or it is no longer kept.').waitFor()
  t.equal(await partsOf(lost).theatre.count(), 0)
  t.same(complaints, [])
})

t.test('on a phone, nothing is wider than the screen', async (t) => {
  const { emulator, complaints, open } = await startStudio(t, { context: phone, emulator: { generationMs: 600_000 } })
  const page = await open()
  const { cards, cardsIn, theatre, keyDialog } = partsOf(page)
  const fits = async (state: string): Promise<void> => {
    t.ok(Number(await page.evaluate('Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll("dialog")].map((dialog) => dialog.scrollWidth))')) <= 360, state)
    await takePicture(page, `studio-phone-${state.replaceAll(' ', '-')}`)
  }
  await page.getByText('Nothing has been dreamt here yet.').waitFor()
  await fits('empty')
  await tellDream(page, dream)
  await cardsIn('processing').waitFor()
  await fits('making')
  emulator.addOutcome({ status: 'failed', error: 'NSFW content detected' })
  await tellDream(page, 'x'.repeat(300))
  await cards.nth(1).waitFor()
  await until(() => emulator.log.all.length === 2, 'the second prediction')
  for (const [index, ending] of [{ status: 'succeeded' }, { status: 'failed', error: 'NSFW content detected' }].entries()) {
    const prediction = emulator.log.all[index]
    if (prediction !== undefined) emulator.end(prediction, ending as { status: 'succeeded' })
  }
  for (const state of ['completed', 'failed']) {
    await cardsIn(state).waitFor()
    await fits(`wall ${state}`)
    await cardsIn(state).getByRole('link').first().tap()
    await theatre.waitFor()
    await theatre.getByText('Use it from code').tap()
    await theatre.getByRole('tabpanel').waitFor()
    await fits(`theatre ${state}`)
    await theatre.getByRole('button', { name: 'Close' }).tap()
    await theatre.waitFor({ state: 'detached' })
  }
  await page.getByText('Use it from code').tap()
  await page.getByRole('tabpanel').waitFor()
  await fits('code')
  await page.getByText('Service status').tap()
  await page.locator('service-status strong').first().waitFor()
  await fits('status')
  await page.getByRole('button', { name: 'API key' }).tap()
  await keyDialog.waitFor()
  await fits('key')
  t.same(complaints, [])
})
