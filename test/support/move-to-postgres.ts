import { spawn } from 'node:child_process'
import { once } from 'node:events'
import pg from 'pg'
import type { Test } from 'tap'
import { createPostgresTaskStore } from '../../services/store/postgres/postgres-task-store.ts'
import type { Task } from '../../services/tasks/task.ts'

const script = new URL('../../scripts/move-to-postgres.ts', import.meta.url).pathname
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }

/** The script of the move in a process of its own, with `env` as its whole environment, killed when the test ends. */
export function moveToPostgres (t: Test, env: Record<string, string>, args: string[] = []) {
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, script, ...args], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) child[name].setEncoding('utf8').on('data', (text) => { output[name] += text })
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, ...output }))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { ended, kill: () => child.kill('SIGKILL') }
}

/** A store on the database, and all of its tasks in the order of their ids, as another instance reads them. */
export async function openPostgres (t: Test, databaseUrl: string) {
  const store = await createPostgresTaskStore({ databaseUrl, now: Date.now, log })
  t.teardown(() => store.close())
  const tasks = async (): Promise<Task[]> => {
    const ids = await query(databaseUrl, 'select id from task order by id')
    return (await Promise.all(ids.map(({ id }) => store.get(id)))).filter((task) => task !== undefined)
  }
  return { store, tasks }
}

export function byId (tasks: Task[]): Task[] {
  return tasks.toSorted((a, b) => a.id < b.id ? -1 : 1)
}

/** Runs one statement on a connection of its own. */
export async function query (databaseUrl: string, statement: string): Promise<Array<{ id: string }>> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    return (await client.query(statement)).rows
  } finally {
    await client.end()
  }
}
