import { globSync, readFileSync } from 'node:fs'
import t from 'tap'
import packageJson from '../package.json' with { type: 'json' }

/**
 * Many test files in one process, because starting a process for each file takes longer than most of them: every test file that neither
 * `.taprc` nor the script `test:slow` names. Those run in processes of their own, side by side, because their tests wait for seconds, start
 * processes or change what belongs to a process. The files share one root test: hooks of the root would apply to the tests of all of them.
 *
 * `npm run test:quick` runs this file alone, without the single tests that need a server or a process.
 */
const named = `${readFileSync('.taprc', 'utf8')} ${packageJson.scripts['test:slow']}`
const inOwnProcess = new Set(globSync(named.match(/test\/[^\s']+\.test\.ts/g) ?? []))

t.setTimeout(900_000)
for (const file of globSync('test/**/*.test.ts').sort()) {
  if (!inOwnProcess.has(file)) await import(`./${file.slice('test/'.length)}`)
}
