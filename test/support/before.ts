import { mkdirSync, writeFileSync } from 'node:fs'
import { runningServerFile } from './postgres.ts'
import { PostgresServer } from '../../harness/postgres-server.ts'

/** One PostgreSQL for all tests of a run, unless TEST_DATABASE_URL names another. */
if (process.env.TEST_DATABASE_URL === undefined) {
  const { folder, port } = await PostgresServer.start()
  mkdirSync(new URL('.', runningServerFile), { recursive: true })
  writeFileSync(runningServerFile, JSON.stringify({ folder, port }))
}
