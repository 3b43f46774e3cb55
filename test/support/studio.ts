import type { BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import { until } from '../../harness/until.ts'
import { startChromium } from './chromium.ts'
import { startService, type ServiceOptions } from './service.ts'

export interface StudioOptions extends ServiceOptions {
  context?: BrowserContextOptions
  /** lines of the console that the test brings about, such as those of refused requests */
  expected?: RegExp
}

/** A service with its page in a browser, and all that the page should not do: see `complaints`. */
export async function startStudio (t: Test, { context: contextOptions = {}, expected, ...serviceOptions }: StudioOptions = {}) {
  const service = await startService(t, { emulator: { generationMs: 300 }, ...serviceOptions })
  const url = await service.app.listen({ port: 0, host: '127.0.0.1' })
  return { ...service, url, ...await openBrowser(t, url, { context: contextOptions, ...(expected !== undefined && { expected }) }) }
}

/** A browser for the page of a service at `url`. */
export async function openBrowser (t: Test, url: string, { context: options = {}, expected }: Pick<StudioOptions, 'context' | 'expected'> = {}) {
  const context = await (await startChromium(t)).newContext(options)
  /** Errors and warnings of the console, exceptions, and requests to other origins. */
  const complaints: string[] = []
  context.on('console', (message) => {
    const line = `${message.text()} ${message.location().url}`
    if (['error', 'warning'].includes(message.type()) && expected?.test(line) !== true) complaints.push(line)
  })
  context.on('weberror', (error) => complaints.push(error.error().stack ?? String(error.error())))
  context.on('request', (request) => { if (!request.url().startsWith(`${url}/`) && !request.url().startsWith('data:')) complaints.push(`asked for ${request.url()}`) })
  /** Opens the page in a new window. @param hash such as `#/task_id` */
  const open = async (hash = ''): Promise<Page> => {
    const page = await context.newPage()
    await page.goto(`${url}/${hash}`)
    return page
  }
  return { context, complaints, open }
}

/** The parts of the page, by what users and assistive technology know of them. */
export function partsOf (page: Page) {
  return {
    field: page.getByRole('textbox', { name: 'What did you dream?' }),
    make: page.getByRole('button', { name: 'Make film' }),
    cards: page.locator('film-card'),
    /** @param state as in `data-state` */
    cardsIn: (state: string) => page.locator(`film-card[data-state=${state}]`),
    announcement: page.locator('#announcements'),
    connection: page.locator('#connection'),
    theatre: page.locator('dialog.theatre'),
    keyDialog: page.getByRole('dialog', { name: 'API key' })
  }
}

/** Tells a dream, and sends the form. */
export async function tellDream (page: Page, dream: string): Promise<void> {
  const { field, make } = partsOf(page)
  await field.fill(dream)
  await make.click()
}

/**
 * Waits until an expression holds in the page. Playwright's `waitForFunction` would evaluate it in a way that the content security policy forbids.
 * @param expression in JavaScript
 */
export async function untilTrue (page: Page, expression: string): Promise<void> {
  await until(async () => await page.evaluate(expression) === true, expression, { intervalMs: 30 })
}

/** Waits until the video at `selector` plays, and its time goes on. @returns how it plays */
export async function watch (page: Page, selector = 'film-card[data-state=completed] video'): Promise<{ muted: boolean, loop: boolean, width: number }> {
  const video = page.locator(selector).first()
  await video.waitFor()
  const read = async (): Promise<number> => await video.evaluate((element) => element.paused ? 0 : element.currentTime)
  const before = await until(async () => await read() || undefined, `${selector} to play`, { intervalMs: 30 })
  // It may have begun again at 0.
  await until(async () => ![0, before].includes(await read()), `the time of ${selector} to go on`, { intervalMs: 30 })
  return await video.evaluate((element) => ({ muted: element.muted, loop: element.loop, width: element.videoWidth }))
}
