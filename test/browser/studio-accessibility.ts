import { readFile } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { startService } from '../support/service.ts'
import { startStudioProxy } from '../support/studio-proxy.ts'
import { openBrowser, partsOf, startStudio, tellDream, type StudioOptions } from '../support/studio.ts'

const dream = 'My grandmother’s piano is full of bees, and they play'
interface AxeResults {
  violations: Array<{ id: string, nodes: Array<{ target: string[], failureSummary: string }> }>
  passes: unknown[]
}

const axe = await readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8')
/** Without motion, no colour is measured in the middle of a transition. */
const still: StudioOptions = { context: { reducedMotion: 'reduce' } }

/** Checks the page as it is, in both schemes and at two widths. */
async function checkAccess (t: Test, page: Page, state: string): Promise<void> {
  if (await page.evaluate('typeof axe') === 'undefined') await page.evaluate(axe)
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 900 })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      const { violations, passes } = await page.evaluate('axe.run({ resultTypes: ["violations"] })') as AxeResults
      t.same(violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`)), [], `${state}, ${colorScheme}, ${width} px`)
      t.ok(passes.length > 10, 'axe has looked at it')
    }
  }
}

t.test('axe finds no fault while nothing has been made, in the form with a fault, in the lines of code and in the status', async (t) => {
  const { complaints, open } = await startStudio(t, still)
  const page = await open()
  await page.getByText('Nothing has been dreamt here yet.').waitFor()
  await checkAccess(t, page, 'empty')
  await partsOf(page).make.click()
  await page.getByText('Tell a dream first.').waitFor()
  await checkAccess(t, page, 'fault')
  await page.getByText('Use it from code').click()
  await page.getByRole('tabpanel').waitFor()
  await checkAccess(t, page, 'code')
  await page.getByText('Service status').click()
  await page.getByText('Dreams are passed on at once.').waitFor()
  await checkAccess(t, page, 'status')
  t.same(complaints, [])
})

t.test('axe finds no fault in any state of a film, on the wall and in the theatre', async (t) => {
  const { emulator, complaints, open } = await startStudio(t, { ...still, emulator: { generationMs: 600_000, startingMs: 600_000 }, expected: /status of 410/ })
  const page = await open()
  const { cardsIn, theatre } = partsOf(page)
  const visit = async (state: string): Promise<void> => {
    await checkAccess(t, page, state)
    await cardsIn(state).getByRole('link').first().click()
    await theatre.waitFor()
    await theatre.getByText('Use it from code').click()
    await theatre.getByRole('tabpanel').waitFor()
    await checkAccess(t, page, `theatre, ${state}`)
    await page.keyboard.press('Escape')
    await theatre.waitFor({ state: 'detached' })
  }
  const create = async (): Promise<void> => {
    const before = emulator.log.all.length
    await tellDream(page, `${dream} ${before}`)
    await until(() => emulator.log.all.length > before, 'the prediction')
  }
  const end = (status: 'succeeded' | 'failed', error?: string) => {
    const last = emulator.log.all.at(-1)
    if (last !== undefined) emulator.end(last, { status, ...(error !== undefined && { error }) })
  }
  await create()
  await cardsIn('pending').or(cardsIn('processing')).first().waitFor()
  await checkAccess(t, page, 'waiting')
  emulator.settings.startingMs = 0
  await create()
  await cardsIn('processing').first().waitFor()
  await visit('processing')
  await cardsIn('processing').first().getByRole('button', { name: 'Cancel' }).click()
  await cardsIn('canceled').waitFor()
  await visit('canceled')
  await create()
  end('failed', 'NSFW content detected')
  await cardsIn('failed').waitFor()
  await visit('failed')
  await create()
  end('succeeded')
  await cardsIn('completed').locator('video.shown').waitFor()
  await visit('completed')
  await page.route('**/videos/*', (route) => route.fulfill({ status: 410 }))
  await page.reload()
  await cardsIn('gone').waitFor()
  await checkAccess(t, page, 'gone')
  t.same(complaints, [])
})

t.test('axe finds no fault in the dialog for the key, and where the status is refused', async (t) => {
  const { complaints, open } = await startStudio(t, { ...still, env: { API_KEYS: keyList([newTestKey('studio')]) }, expected: /status of 401/ })
  const page = await open()
  const { keyDialog } = partsOf(page)
  await page.getByText('Service status').click()
  await page.getByText('These figures are for operators').waitFor()
  await checkAccess(t, page, 'status refused')
  await tellDream(page, dream)
  await keyDialog.getByLabel('Your key').fill('no-key')
  await page.keyboard.press('Enter')
  await keyDialog.getByText('This key is not valid here.').waitFor()
  await checkAccess(t, page, 'key')
  t.same(complaints, [])
})

t.test('axe finds no fault while the server cannot be reached', async (t) => {
  const { app } = await startService(t, { emulator: { generationMs: 600_000 } })
  const proxy = await startStudioProxy(t, await app.listen({ port: 0, host: '127.0.0.1' }))
  const { complaints, open } = await openBrowser(t, proxy.url, { ...still, expected: /net::ERR_/ })
  const page = await open()
  await tellDream(page, dream)
  await partsOf(page).cardsIn('processing').waitFor()
  proxy.cut()
  await partsOf(page).connection.getByText('Your film goes on being made').waitFor()
  await checkAccess(t, page, 'lost')
  t.same(complaints, [])
})
