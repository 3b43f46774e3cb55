import { globSync } from 'node:fs'
import t from 'tap'

/**
 * What `npm run test:quick` runs: many test files in one process, because starting a process for each file takes longer than most of
 * them. Left out are folders in which tests need a PostgreSQL server, start processes or start a browser, and files that wait for
 * seconds. `npm test` runs every file.
 */
const leftOut = new RegExp(`^test/(${[
  'bench', 'browser', 'chaos', 'clients', 'cluster', 'process', 'store/postgres',
  'callbacks/(callbacks|deliver-callback)',
  'generation/(cancel-video|fail-overdue|generate-video|generation-jobs|prediction-watch|submission-gate|submission-search|submit-task)',
  'metrics',
  'tracing',
  'http/(body-budget|lingering-close|pipelined-requests|shipped-app)',
  'net',
  'project/(audit|release)',
  'replicate/(account-check|replicate-client|replicate-webhooks)',
  'replicate-emulator',
  'runtime/redact-secrets',
  'store/broken-storage',
  'videos/(s3-archive|video-copier|video-inspector)'
].join('|')})[./]`)

t.setTimeout(240_000)
for (const file of globSync('test/**/*.test.ts').sort()) {
  if (!leftOut.test(file)) await import(`./${file.slice('test/'.length)}`)
}
