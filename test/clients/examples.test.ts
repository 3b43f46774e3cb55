import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { startService } from '../service.ts'

const document = readFileSync(new URL('../../docs/clients.md', import.meta.url), 'utf8')

/** The example in a language, as a reader would copy it. */
function exampleIn (language: string): string {
  const [, code] = new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``).exec(document) ?? []
  if (code === undefined) throw new Error(`There is no example in ${language}`)
  return code
}

async function run (t: Test, program: string, file: string, code: string, url: string): Promise<string> {
  const path = `${t.testdir()}/${file}`
  await writeFile(path, code)
  const { stdout } = await promisify(execFile)(program, [path], { env: { PATH: process.env.PATH, SERVICE: url, FIRST_POLL_SECONDS: '0.1' } })
  return stdout
}

const examples = [
  { language: 'js', program: process.execPath, file: 'example.mjs' },
  { language: 'python', program: 'python3', file: 'example.py' }
]

for (const { language, program, file } of examples) {
  t.test(`the example in ${language} makes a video, and says why where there is none`, async (t) => {
    const { app, emulator } = await startService(t, { emulator: { generationMs: 300 } })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    t.match(await run(t, program, file, exampleIn(language), url), /^completed http:.*\.mp4\n$/)
    emulator.addOutcome({ status: 'failed', error: 'E005' })
    t.match(await run(t, program, file, exampleIn(language), url), /^failed The provider’s content policy .*\n$/)
    t.equal(emulator.predictions.length, 2)
  })
}
