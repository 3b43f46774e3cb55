import t from 'tap'
import { until } from '../../harness/until.ts'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { takePicture } from '../support/chromium.ts'
import { partsOf, startStudio, tellDream, watch } from '../support/studio.ts'

const studio = newTestKey('studio')
const other = newTestKey('other')
const limited = newTestKey('limited', { creates_per_minute: 1 })
const env = { API_KEYS: keyList([studio, other, limited]) }
const dream = 'A fox in a raincoat sells me back my lost keys'
/** The console has a line for each refused request. */
const refusals = /the server responded with a status of (401|403|429)/

t.test('the first creation asks for a key; a wrong one is refused, the right one makes the film', async (t) => {
  const { app, emulator, url, logLines, context, complaints, open } = await startStudio(t, { env, expected: refusals })
  const addresses: string[] = []
  context.on('request', (request) => addresses.push(request.url()))
  const page = await open()
  const { keyDialog, cards } = partsOf(page)
  await page.getByText('With an API key, all films of the key are here.').waitFor()
  t.equal(await keyDialog.count(), 0, 'no key is asked for before it is necessary')
  await tellDream(page, dream)
  await keyDialog.getByText('This service wants an API key with each dream.').waitFor()
  const field = keyDialog.getByLabel('Your key')
  t.ok(await field.evaluate((element) => element.matches(':focus')))
  t.equal(await field.getAttribute('type'), 'password')
  await takePicture(page, 'studio-key')
  for (const [wrong, sentence] of [
    ['two words', 'A key has no spaces and no special characters. Copy it again.'],
    [`${studio.key.slice(0, -1)}!`, 'This key is not valid here. Look whether all of it was copied.']
  ] as const) {
    await field.fill(wrong)
    await field.press('Enter')
    await keyDialog.getByRole('alert').getByText(sentence).waitFor()
  }
  t.equal(emulator.predictions.length, 0)
  await field.fill(studio.key)
  await keyDialog.getByRole('button', { name: 'Use this key' }).click()
  await keyDialog.waitFor({ state: 'detached' })
  await watch(page)
  t.equal(await cards.count(), 1)
  t.equal(emulator.predictions.length, 1)
  t.match((await app.inject({ url: '/video-status', headers: studio.headers })).json().items, [{ dream, status: 'completed' }])

  await page.getByRole('button', { name: 'API key in use' }).waitFor()
  await page.getByText('Use it from code').click()
  await page.getByText('$DREAMREEL_KEY').first().waitFor()
  t.ok((await page.evaluate('Object.values(sessionStorage)') as string[]).includes(studio.key))
  const elsewhere = await page.evaluate('JSON.stringify([document.documentElement.outerHTML, location.href, document.cookie, { ...localStorage }])')
  for (const [where, text] of Object.entries({ page: elsewhere, addresses: addresses.join('\n'), log: logLines.join('\n') })) t.notOk(String(text).includes(studio.key), where)

  await tellDream(page, 'Another dream')
  await cards.nth(1).waitFor()
  await page.reload()
  await cards.nth(1).waitFor()
  t.equal(await keyDialog.count(), 0, 'the key is asked for once')
  t.equal((await app.inject({ url: '/video-status', headers: studio.headers })).json().items.length, 2)
  t.equal(page.url(), `${url}/`)
  t.same(complaints, [])
})

t.test('who has no key gives up, and the dream stays in the field', async (t) => {
  const { emulator, complaints, open } = await startStudio(t, { env, expected: refusals })
  const page = await open()
  const { field, keyDialog } = partsOf(page)
  await tellDream(page, dream)
  await keyDialog.getByRole('button', { name: 'Not now' }).click()
  await keyDialog.waitFor({ state: 'detached' })
  t.equal(await field.inputValue(), dream)
  await field.press('Control+Enter')
  await keyDialog.waitFor()
  await page.keyboard.press('Escape')
  await keyDialog.waitFor({ state: 'detached' })
  t.equal(await field.inputValue(), dream)
  t.equal(emulator.predictions.length, 0)
  t.same(complaints, [])
})

t.test('another key shows the films of that key only, and without one the films of this browser are gone', async (t) => {
  const { complaints, open } = await startStudio(t, { env, expected: refusals })
  const page = await open()
  const { keyDialog, cards } = partsOf(page)
  const enter = async (key: string): Promise<void> => {
    await page.getByRole('button', { name: /^API key/ }).click()
    await keyDialog.getByLabel('Your key').fill(key)
    await page.keyboard.press('Enter')
    await keyDialog.waitFor({ state: 'detached' })
  }
  await enter(studio.key)
  await tellDream(page, dream)
  await watch(page)
  await enter(other.key)
  await page.getByText('Nothing has been dreamt here yet.').waitFor()
  t.equal(await cards.count(), 0)
  await enter(studio.key)
  await cards.first().waitFor()
  await page.getByRole('button', { name: /^API key/ }).click()
  await keyDialog.getByRole('button', { name: 'Forget the key' }).click()
  await page.getByText('With an API key, all films of the key are here.').waitFor()
  t.equal(await cards.count(), 0)
  t.equal(await page.evaluate('JSON.stringify({ ...sessionStorage }).includes("drm_")'), false)
  t.same(complaints, [])
})

t.test('a key that has made enough films in this minute is told how long to wait', async (t) => {
  const { emulator, complaints, open } = await startStudio(t, { env, expected: refusals })
  const page = await open()
  const { field, keyDialog } = partsOf(page)
  await tellDream(page, dream)
  await keyDialog.getByLabel('Your key').fill(limited.key)
  await page.keyboard.press('Enter')
  await watch(page)
  await tellDream(page, 'One too many')
  const fault = page.locator('dream-form').getByRole('alert')
  await fault.getByText(/^Too many requests within a minute\. Try again in (\d+ s|1 min)\.$/).waitFor()
  t.equal(await field.inputValue(), 'One too many')
  t.equal(emulator.predictions.length, 1)
  t.same(complaints, [])
})

t.test('a service without keys that others can reach: the wall holds what this browser has made', async (t) => {
  const { app, emulator, complaints, context, open } = await startStudio(t, { env: { HOST: '0.0.0.0', ALLOW_ANONYMOUS: 'true' }, expected: refusals })
  await app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'Of another client', style: 'Cursed' } })
  await until(() => emulator.predictions.length === 1, 'the film of the other client')
  const page = await open()
  await tellDream(page, dream)
  await watch(page)
  await page.reload()
  await watch(page)
  t.equal(await partsOf(page).cards.count(), 1)
  t.equal(await partsOf(page).cards.first().getByRole('button', { name: 'Delete' }).count(), 0, 'the service would refuse it')
  t.equal(await page.getByRole('button', { name: 'Enter a key' }).count(), 0, 'there are no keys')
  await context.clearCookies()
  await page.evaluate('localStorage.clear()')
  await page.reload()
  await page.getByText('Nothing has been dreamt here yet.').waitFor()
  t.equal(await partsOf(page).cards.count(), 0)
  t.same(complaints, [])
})
