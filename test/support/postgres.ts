import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { createPostgresDatabase, queryPostgres } from '../../harness/postgres-client.ts'
import { PostgresServer } from '../../harness/postgres-server.ts'

/** Where `before.ts` writes down the server of this run. */
export const runningServerFile = new URL('../../.tap/postgres.json', import.meta.url)

export function runningServer (): PostgresServer {
  const { folder, port } = JSON.parse(readFileSync(runningServerFile, 'utf8'))
  return new PostgresServer(folder, port)
}

/** An empty database of its own, dropped when the test ends. */
export async function createDatabase (t: Test): Promise<string> {
  const serverUrl = process.env.TEST_DATABASE_URL ?? runningServer().url
  const name = `dreamreel_${randomBytes(6).toString('hex')}`
  const url = await createPostgresDatabase(serverUrl, name)
  t.teardown(() => queryPostgres(serverUrl, `drop database ${name} with (force)`))
  return url
}
