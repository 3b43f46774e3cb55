import autocannon from 'autocannon'
import pg from 'pg'
import { taskToRow, taskColumns } from '../services/store/task-row.ts'
import { newTask } from '../services/tasks/task.ts'
import { connections, creates, median, megabytes, postOne, startEmulator, startService } from './setup.ts'

const rounds = 5
const inFlight = 900

/** How many transactions the database of this connection has had so far. */
export async function transactionsOf (client: pg.Client): Promise<number> {
  const { rows } = await client.query('select xact_commit + xact_rollback as count from pg_stat_database where datname = current_database()')
  return Number(rows[0]?.count)
}

/** How fast tasks are claimed and read while that number of tasks is open, and the memory of the instance. */
export async function measureOpenTasks (client: pg.Client, databaseUrl: string, open: number) {
  const emulator = await startEmulator(3_600_000)
  const env = { DATABASE_URL: databaseUrl, MAX_IN_FLIGHT: String(inFlight), TASK_DEADLINE_SECONDS: '86400' }
  await (await startService(env)).stop()
  await fill(client, open)
  const startedAt = performance.now()
  const service = await startService(env)
  await creates(emulator, inFlight, 20)
  const claims = inFlight / (performance.now() - startedAt) * 1_000
  const taskId = await postOne(service)
  const rates: number[] = []
  for (let round = 0; round < rounds; round++) {
    rates.push((await autocannon({ url: `${service.url}/video-status/${taskId}`, connections, duration: 2 })).requests.average)
  }
  const result = {
    what: `${open} tasks open`,
    'claimed and submitted a second, from the start on': Math.round(claims),
    'status reads a second': Math.round(median(rates)),
    'resident memory': megabytes(service.process.residentMegabytes())
  }
  await service.stop()
  await emulator.stop()
  return result
}

/** Writes open tasks and their jobs straight into the tables: posting them would take longer than the measurement. */
async function fill (client: pg.Client, open: number): Promise<void> {
  const columns = taskColumns.join(', ')
  for (let made = 0; made < open; made += 1_000) {
    const tasks = Array.from({ length: 1_000 }, () => taskToRow(newTask('A whale', 'Realistic', 86_400, Date.now())))
    await client.query(`insert into task (${columns}) select ${columns} from json_populate_recordset(null::task, $1)`, [JSON.stringify(tasks)])
    await client.query("insert into pgboss.job (id, name, retry_limit, retry_delay, heartbeat_seconds, expire_seconds, keep_until, policy) select id::uuid, 'generate', 1000000, 0, 10, 86399, now() + interval '1 year', 'standard' from unnest($1::text[]) as id", [tasks.map(({ id }) => id)])
  }
}
