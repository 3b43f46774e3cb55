import { globSync, readFileSync } from 'node:fs'
import t from 'tap'

/**
 * Many test files in one process, because starting a process for each file takes longer than most of them. It imports every test file
 * that `.taprc` does not name; those run in processes of their own, side by side, because their tests wait for seconds, start processes
 * or change what belongs to a process. The files share one root test: hooks of the root would apply to the tests of all of them.
 *
 * `npm run test:quick` runs this file alone, without the single tests that need a server or a process.
 */
const taprc = readFileSync('.taprc', 'utf8')
const inOwnProcess = new Set(globSync(Array.from(taprc.matchAll(/^ +- (test\/\S+\.test\.ts)$/gm), ([, pattern = '']) => pattern)))

t.setTimeout(900_000)
for (const file of globSync('test/**/*.test.ts').sort()) {
  if (!inOwnProcess.has(file)) await import(`./${file.slice('test/'.length)}`)
}
