import type { Locator, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import type { Problem } from '../../errors.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { startChromium, takePicture } from '../support/chromium.ts'
import { startService } from '../support/service.ts'

/** @param expected lines of the console that the test brings about */
async function openDocs (t: Test, { env = {}, expected }: { env?: Record<string, string>, expected?: RegExp } = {}) {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 300 }, env })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const browser = await startChromium(t)
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
  const complaints: string[] = []
  page.on('console', (message) => {
    const line = `${message.text()} ${message.location().url}`
    if (['error', 'warning'].includes(message.type()) && expected?.test(line) !== true) complaints.push(line)
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('request', (request) => { if (!request.url().startsWith(url) && !request.url().startsWith('data:')) complaints.push(`asked for ${request.url()}`) })
  await page.goto(`${url}/docs`)
  return { page, url, app, emulator, complaints }
}

/** Opens an operation of the page, ready to be executed. */
async function tryOut (page: Page, operationId: string): Promise<Locator> {
  const operation = page.locator(`[id$="-${operationId}"].opblock`)
  await operation.locator('.opblock-summary').click()
  await operation.getByRole('button', { name: 'Try it out' }).click()
  return operation
}

/** Executes the operation with its current fields. @returns status and body of the response as the page shows them */
async function execute (page: Page, operation: Locator): Promise<{ status: number, body: unknown }> {
  const clear = operation.getByRole('button', { name: 'Clear' })
  if (await clear.isVisible()) await clear.click()
  await operation.getByRole('button', { name: 'Execute' }).click()
  const shown = operation.locator('.live-responses-table .response')
  const status = Number.parseInt(await shown.locator('.response-col_status').innerText())
  const body = await shown.locator('.response-col_description pre.microlight code').innerText()
  return { status, body: JSON.parse(body) }
}

t.test('a visitor of /docs creates two videos by filling in the required fields, and sees their addresses', async (t) => {
  const { page, url, emulator, complaints } = await openDocs(t)
  await page.getByText('Create a video', { exact: true }).waitFor()
  t.equal(await page.title(), 'Dreamreel')
  const icon = await page.locator('link[rel="icon"]').getAttribute('href')
  t.match((await page.request.get(new URL(icon ?? '', url).href)).headers(), { 'content-type': 'image/svg+xml' })
  await page.locator('.topbar img[src^="data:image/svg+xml"]').waitFor()
  await takePicture(page, 'page')

  const creation = await tryOut(page, 'generateVideo')
  const status = await tryOut(page, 'getVideoStatus')
  for (const dream of ['A whale swims through the clouds', 'A piano full of bees']) {
    await creation.locator('[data-param-name="dream"] input').fill(dream)
    await creation.locator('[data-param-name="style"] select').selectOption('Animated')
    const accepted = await execute(page, creation)
    t.match(accepted, { status: 200, body: { status: 'pending' } })
    await takePicture(page, 'created')
    const { task_id: taskId } = accepted.body as TaskView

    await status.locator('[data-param-name="task_id"] input').fill(taskId)
    await status.locator('[data-param-name="prefer"] input').fill('wait=30')
    const ended = await execute(page, status)
    t.match(ended, { status: 200, body: { task_id: taskId, status: 'completed', dream } })
    const { video_url: address } = ended.body as TaskView
    t.match(await status.innerText(), address ?? 'no address')
    await takePicture(page, 'completed')
    t.same((await execute(page, status)).body, ended.body, 'looking again shows it again')
  }
  t.equal(emulator.predictions.length, 2)
  t.same(complaints, [])
})

t.test('a visitor of /docs is told which field is missing', async (t) => {
  const { page } = await openDocs(t)
  const status = await tryOut(page, 'getVideoStatus')
  await status.locator('[data-param-name="task_id"] input').fill('none')
  const missing = await execute(page, status)
  t.match(missing, { status: 404, body: { code: 'task_not_found' } })
  t.match(await status.locator('.responses-inner').innerText(), (missing.body as Problem).detail)
})

t.test('a visitor of /docs enters an API key, and creates a video with it', async (t) => {
  const studio = newTestKey('studio')
  // The console has a line for the request without a key.
  const { page, app, emulator, complaints } = await openDocs(t, { env: { API_KEYS: keyList([studio]) }, expected: /status of 401/ })
  const creation = await tryOut(page, 'generateVideo')
  await creation.locator('[data-param-name="dream"] input').fill('A piano full of bees')
  await creation.locator('[data-param-name="style"] select').selectOption('Animated')
  t.match(await execute(page, creation), { status: 401, body: { code: 'api_key_missing' } })
  await page.locator('.scheme-container').getByRole('button', { name: 'Authorize' }).click()
  const dialog = page.locator('.dialog-ux')
  await dialog.getByRole('textbox').fill(studio.key)
  await dialog.getByRole('button', { name: 'Apply credentials' }).click()
  await dialog.getByText('Authorized').waitFor()
  await dialog.getByRole('button', { name: 'Close' }).first().click()
  const accepted = await execute(page, creation)
  t.match(accepted, { status: 200, body: { status: 'pending' } })
  t.equal((await app.inject({ url: '/video-status', headers: studio.headers })).json().items[0].task_id, (accepted.body as TaskView).task_id)
  t.equal(emulator.predictions.length, 1)
  t.same(complaints, [])
})
