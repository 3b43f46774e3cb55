import { mkdir } from 'node:fs/promises'
import { chromium, type Browser, type Page } from 'playwright-core'
import root, { type Test } from 'tap'

const isRoot = process.getuid?.() === 0
/** The folder for screenshots, for people who change a page. */
const pictures = process.env.PICTURES

/** One browser for all tests of a file: each start takes seconds. */
let browser: Promise<Browser> | undefined
root.teardown(async () => await (await browser)?.close())

/** Debian's Chromium, or the one in `CHROMIUM`. Its pages are closed at the end of the test. */
export async function startChromium (t: Test): Promise<Browser> {
  browser ??= chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Chromium's sandbox refuses to run as root, and containers usually run as root.
    chromiumSandbox: !isRoot,
    args: ['--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync']
  })
  const started = await browser
  t.teardown(async () => { for (const context of started.contexts()) await context.close() })
  return started
}

/** Saves a screenshot of the whole page where `PICTURES` names a folder. */
export async function takePicture (page: Page, name: string): Promise<void> {
  if (pictures === undefined) return
  await mkdir(pictures, { recursive: true })
  await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true })
}
