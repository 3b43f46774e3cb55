import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import t from 'tap'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { partsOf, startStudio, untilTrue } from '../support/studio.ts'

const run = promisify(execFile)
const dreams = [
  'It’s "quoted", it\'s `quoted`, and \'\'twice\'\'',
  'C:\\new\\table \\ \\\\ \\(x) \\u0041 \\"',
  'Two lines\nand a third\n\n# then, with the task_id',
  ['$HOME $', '{HOME} $(id) !! %41 + & ? # ; | < > * ~ @file'].join(''),
  '🐋 👩‍🚀 حلمت بحوت في السماء חלום 夢',
  '--dream=1',
  '@/etc/passwd'
]
const studio = newTestKey('studio')

/** Shows the lines of a language. @returns them */
async function linesOf (page: Page, language: string): Promise<string> {
  await page.getByRole('tab', { name: language }).click()
  return await page.getByRole('tabpanel', { name: language }).locator('code').evaluate((element) => element.textContent)
}

/** The programs that run the lines which the page shows, in a folder of their own and without files of the user. */
const programs: Record<string, (code: string) => [string, string[]]> = {
  curl: (code) => ['bash', ['-c', code.split('\n\n# then, with the task_id of the answer')[0] ?? '']],
  JavaScript: (code) => [process.execPath, ['--input-type=module', '-e', code]],
  Python: (code) => ['python3', ['-c', code]]
}

for (const { name, env, key } of [
  { name: 'without a key', env: {}, key: undefined },
  { name: 'with a key', env: { API_KEYS: keyList([studio]) }, key: studio }
]) {
  t.test(`the lines of code that the page shows make a film of exactly this dream, ${name}`, async (t) => {
    const { app, complaints, open } = await startStudio(t, { env, expected: /status of 401/ })
    const page = await open()
    const { field, keyDialog } = partsOf(page)
    if (key !== undefined) {
      await page.getByRole('button', { name: 'API key' }).click()
      await keyDialog.getByLabel('Your key').fill(key.key)
      await page.keyboard.press('Enter')
      await keyDialog.waitFor({ state: 'detached' })
    }
    await page.getByText('Use it from code').click()
    await page.getByRole('radio', { name: 'Cursed' }).check()
    for (const dream of key === undefined ? dreams : dreams.slice(0, 1)) {
      await field.fill(dream)
      for (const [language, program] of Object.entries(programs)) {
        const [file, args] = program(await linesOf(page, language))
        const { stdout } = await run(file, args, { cwd: t.testdir(), env: { PATH: process.env.PATH, HOME: process.env.HOME, LC_ALL: 'C.UTF-8', ...(key !== undefined && { DREAMREEL_KEY: key.key }) } })
        t.match(stdout, language === 'curl' ? /"task_id":/ : /^http:.*\.mp4\n$/, language)
        const { items } = (await app.inject({ url: '/video-status', query: { limit: '1' }, headers: key?.headers ?? {} })).json()
        t.match(items, [{ dream, style: 'Cursed' }], language)
        t.equal(items[0].dream, dream, language)
      }
      const swift = await linesOf(page, 'Swift')
      const literal = /name: "dream", value: "((?:[^"\\\p{Cc}\u2028\u2029]|\\["\\]|\\u\{[0-9a-f]+\})*)"\)/u.exec(swift)?.[1] ?? 'no literal'
      t.equal(literal.replaceAll(/\\(?:u\{([0-9a-f]+)\}|(.))/g, (_, code, character) => character ?? String.fromCodePoint(Number.parseInt(code, 16))), dream)
    }
    t.same(complaints, [])
  })
}

t.test('the lines change with the form, stay below the dream of the field, and are copied by one click', async (t) => {
  const { complaints, open } = await startStudio(t, { context: { permissions: ['clipboard-read', 'clipboard-write'] } })
  const page = await open()
  const { field, announcement } = partsOf(page)
  await page.getByText('Use it from code').click()
  const example = await field.getAttribute('placeholder') ?? 'no example'
  t.ok((await linesOf(page, 'curl')).includes(example), 'an example stands in for the dream')
  await field.fill('A piano full of bees')
  await page.getByRole('radio', { name: 'Animated' }).check()
  const lines = await linesOf(page, 'JavaScript')
  t.match(lines, /"A piano full of bees", style: "Animated"/)
  await page.getByRole('button', { name: 'Copy' }).click()
  await untilTrue(page, 'document.querySelector("#announcements").textContent === "Copied"')
  t.equal(await announcement.innerText(), 'Copied')
  t.equal(await page.evaluate('navigator.clipboard.readText()'), lines)
  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('ArrowRight')
  await page.getByRole('tab', { name: 'Python', selected: true }).waitFor()
  t.ok(await page.getByRole('tab', { name: 'Python' }).evaluate((element) => element.matches(':focus')), 'arrows lead from tab to tab')
  for (const name of ['try each call', 'OpenAPI document']) {
    const address = await page.getByRole('link', { name }).getAttribute('href')
    t.equal((await page.request.get(address ?? '')).status(), 200, name)
  }
  t.same(complaints, [])
})
