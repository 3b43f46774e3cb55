import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import pg from 'pg'
import type { Test } from 'tap'
import { PostgresServer } from '../../harness/postgres-server.ts'

/** Where `before.ts` notes the server of this run. */
export const runningServerFile = new URL('../../.tap/postgres.json', import.meta.url)

export function runningServer (): PostgresServer {
  const { folder, port } = JSON.parse(readFileSync(runningServerFile, 'utf8'))
  return new PostgresServer(folder, port)
}

/** An empty database of its own, gone when the test ends. */
export async function createDatabase (t: Test): Promise<string> {
  const serverUrl = process.env.TEST_DATABASE_URL ?? runningServer().url
  const name = `dreamreel_${randomBytes(6).toString('hex')}`
  await administer(serverUrl, `create database ${name}`)
  t.teardown(() => administer(serverUrl, `drop database ${name} with (force)`))
  const url = new URL(serverUrl)
  url.pathname = name
  return url.href
}

async function administer (serverUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
