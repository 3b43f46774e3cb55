import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import { createPostgresDatabase, queryPostgres } from '../../harness/postgres-client.ts'
import { PostgresServer } from '../../harness/postgres-server.ts'
import { until } from '../../harness/until.ts'
import { refuseInQuick } from './quick.ts'

const folder = new URL('../../.tap/', import.meta.url)
/** Contains the address of the PostgreSQL server of this run. */
const serverFile = new URL('postgres.json', folder)
/** Exists as soon as a test has begun to start the server. */
const lockFile = new URL('postgres.lock', folder)

/** An empty database of its own, dropped when the test ends. The first test of a run that needs one starts the server. */
export async function createDatabase (t: Test): Promise<string> {
  refuseInQuick('A PostgreSQL database')
  const serverUrl = process.env.TEST_DATABASE_URL ?? (await sharedServer()).url
  const name = `dreamreel_${randomBytes(6).toString('hex')}`
  const url = await createPostgresDatabase(serverUrl, name)
  t.teardown(() => queryPostgres(serverUrl, `drop database ${name} with (force)`))
  return url
}

/** Test files run in processes of their own, several at once: one of them starts the server, and the others wait for it. */
async function sharedServer (): Promise<PostgresServer> {
  return await until(async () => runningServer() ?? (acquireLock() && await startServer()), 'PostgreSQL to start', { timeoutMs: 120_000, intervalMs: 50 })
}

function runningServer (): PostgresServer | undefined {
  if (!existsSync(serverFile)) return undefined
  const { folder, port } = JSON.parse(readFileSync(serverFile, 'utf8'))
  return new PostgresServer(folder, port)
}

function acquireLock (): boolean {
  mkdirSync(folder, { recursive: true })
  try {
    writeFileSync(lockFile, '', { flag: 'wx' })
    return true
  } catch {
    return false
  }
}

async function startServer (): Promise<PostgresServer> {
  try {
    const server = await PostgresServer.start({ fsync: false })
    const complete = new URL('postgres.json.new', folder)
    writeFileSync(complete, JSON.stringify({ folder: server.folder, port: server.port }))
    renameSync(complete, serverFile)
    return server
  } catch (error) {
    rmSync(lockFile)
    throw error
  }
}

/** Stops the server of this run, or one that an interrupted run has left behind. */
export async function stopServer (): Promise<void> {
  const server = runningServer()
  for (const file of [serverFile, lockFile]) rmSync(file, { force: true })
  await server?.stop()
}
