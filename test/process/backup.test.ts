import { execFile, spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createPostgresDatabase, queryPostgres } from '../../harness/postgres-client.ts'
import { PostgresServer } from '../../harness/postgres-server.ts'
import { ServiceClient, createPath } from '../../harness/service-client.ts'
import type { ServiceProcess } from '../../harness/service-process.ts'
import { until } from '../../harness/until.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { createBucket } from '../support/bucket.ts'
import { runService } from '../support/running-service.ts'
import { startEmulator } from '../support/service.ts'

/** The commands of the runbook, in its order. */
const [, backupFolder = '', restoreFolder = '', backupDatabase = '', restoreDatabase = '', backupBucket = '', restoreBucket = ''] = await readCommands()
/** Of an installed PostgreSQL, whose clients fit its server. */
const [postgresBinaries] = globSync('/usr/lib/postgresql/*/bin').filter((folder) => spawnSync(join(folder, 'pg_dump'), ['--version']).error === undefined)
const withTool = (name: string) => ({ skip: spawnSync(name, ['--version']).error === undefined ? false : `${name} is not installed` })

const deadlineS = 25
const env = { TASK_DEADLINE_SECONDS: String(deadlineS), REPLICATE_CREATE_TIMEOUT_MS: '15000' }
t.setTimeout(180_000)

t.test('a backup of SQLite under load, restored after the deadline of its tasks, has every task and every video and pays for nothing twice', withTool('sqlite3'), async (t) => {
  const folder = t.testdir()
  const [DATA_DIR, BACKUP] = [join(folder, 'data'), join(folder, 'backup')]
  const scene = await startScene(t, { ...env, DATA_DIR })
  await scene.prepare()
  t.equal(await scene.backUp(() => run(backupFolder, { DATA_DIR, BACKUP, PID: String(scene.pid) })), 'ok\n')
  await scene.loseEverything()
  await rm(DATA_DIR, { recursive: true })
  await run(restoreFolder, { DATA_DIR, BACKUP })
  await scene.checkAfterDeadline()
})

t.test('a backup of SQLite that is started at once submits the tasks again that were queued in it', withTool('sqlite3'), async (t) => {
  const folder = t.testdir()
  const [DATA_DIR, BACKUP] = [join(folder, 'data'), join(folder, 'backup')]
  const scene = await startScene(t, { ...env, TASK_DEADLINE_SECONDS: '600', DATA_DIR })
  await scene.prepare()
  await scene.backUp(() => run(backupFolder, { DATA_DIR, BACKUP, PID: String(scene.pid) }))
  await scene.loseEverything()
  await rm(DATA_DIR, { recursive: true })
  await run(restoreFolder, { DATA_DIR, BACKUP })
  await scene.checkAtOnce()
})

t.test('a backup of PostgreSQL and of a bucket, likewise', { skip: postgresBinaries === undefined ? 'PostgreSQL is not installed' : withTool('aws').skip }, async (t) => {
  const postgres = await PostgresServer.start({ fsync: false, ...(postgresBinaries !== undefined && { binaries: postgresBinaries }) })
  t.teardown(() => postgres.stop())
  const { env: bucket } = await createBucket(t)
  const DATABASE_URL = await createPostgresDatabase(postgres.url, 'dreamreel')
  const scene = await startScene(t, { ...env, DATABASE_URL, ...bucket })
  const BACKUP = t.testdir()
  const aws = {
    BACKUP,
    S3_BUCKET: bucket.S3_BUCKET,
    S3_PREFIX: bucket.S3_PREFIX,
    AWS_ACCESS_KEY_ID: bucket.S3_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY: bucket.S3_SECRET_ACCESS_KEY,
    AWS_DEFAULT_REGION: bucket.S3_REGION,
    AWS_REQUEST_CHECKSUM_CALCULATION: 'when_required',
    AWS_RESPONSE_CHECKSUM_VALIDATION: 'when_required'
  }
  const onServer = (command: string) => command.replace('aws ', `aws --endpoint-url ${bucket.S3_ENDPOINT} `)
  await scene.prepare()
  await scene.backUp(async () => await run(backupDatabase, { DATABASE_URL, BACKUP }) + await run(onServer(backupBucket), aws))
  await scene.loseEverything()
  await queryPostgres(postgres.url, 'drop database dreamreel with (force)')
  await createPostgresDatabase(postgres.url, 'dreamreel')
  await run(onServer('aws s3 rm --recursive "s3://$S3_BUCKET"'), aws)
  await run(restoreDatabase, { DATABASE_URL, BACKUP })
  await run(onServer(restoreBucket), aws)
  await scene.checkAfterDeadline()
})

interface Created { dream: string, id: string }

/**
 * A service whose tasks are in every state at the moment of the backup, while clients create more, and which goes on after it until it is
 * lost with its data.
 */
async function startScene (t: Test, settings: Record<string, string>) {
  const { emulator, apiUrl } = await startEmulator(t)
  const start = () => runService(t, { ...settings, REPLICATE_API_URL: apiUrl })
  let service = await start()
  let client = await connect(service)
  const known: Record<'completed' | 'queued' | 'submitting' | 'generating', Created[]> = { completed: [], queued: [], submitting: [], generating: [] }
  const contents = new Map<string, Buffer>()
  let backedUpAt = 0
  let late: Created = { dream: '', id: '' }
  t.teardown(() => client.close())

  async function connect (service: ServiceProcess): Promise<ServiceClient> {
    return new ServiceClient({ urls: [await service.listeningUrl()], timeoutMs: 20_000 })
  }
  async function create (dream: string): Promise<Created> {
    const { text } = await client.call({ method: 'POST', path: createPath(dream, 'Cursed') })
    return { dream, id: JSON.parse(text).task_id }
  }
  const createAll = (word: string, count: number) => Promise.all(Array.from({ length: count }, (_, index) => create(`${word} ${index} of ${count}`)))
  async function read ({ id }: Created): Promise<TaskView> {
    return JSON.parse((await client.call({ method: 'GET', path: `/video-status/${id}` })).text)
  }
  const reaches = (tasks: Created[], status: string) => until(async () => (await Promise.all(tasks.map(read))).every((task) => task.status === status), `${tasks.length} tasks to be ${status}`, { timeoutMs: 30_000 })
  async function download (task: Created): Promise<Buffer> {
    const path = new URL((await read(task)).video_url ?? '').pathname
    const response = await fetch(`${await service.listeningUrl()}${path}`)
    if (!response.ok) throw new Error(`${path}: ${response.status}`)
    return Buffer.from(await response.arrayBuffer())
  }
  /** The predictions of a dream that were ever made. */
  const predictionsOf = ({ dream }: Created) => emulator.predictions.filter(({ input }) => JSON.stringify(input).includes(dream)).length
  const checkPaidOnce = (t: Test, tasks: Created[]) => {
    for (const task of tasks) t.ok(predictionsOf(task) <= 1, `${task.dream}: ${predictionsOf(task)} predictions`)
  }
  async function checkCompleted (t: Test): Promise<void> {
    for (const task of known.completed) t.ok((await download(task)).equals(contents.get(task.id) ?? Buffer.alloc(0)), task.dream)
    for (const task of known.generating) {
      await reaches([task], 'completed')
      t.ok((await download(task)).length > 0, task.dream)
    }
    t.equal((await client.call({ method: 'GET', path: `/video-status/${late.id}` })).status, 404, 'a task that is newer than the backup')
    const fresh = await create('a dream after the restore')
    await reaches([fresh], 'completed')
    t.ok((await download(fresh)).length > 0)
  }

  return {
    get pid () {
      return service.pid
    },
    /** Resolves when there are tasks in each state. The queued ones stay so until `loseEverything`. */
    async prepare (): Promise<void> {
      known.completed = await createAll('completed', 5)
      await reaches(known.completed, 'completed')
      for (const task of known.completed) contents.set(task.id, await download(task))
      emulator.settings.generationMs = 600_000
      known.generating = await createAll('generating', 3)
      await reaches(known.generating, 'processing')
      const before = emulator.predictions.length
      emulator.addFault({ call: 'create', kind: 'hang', after: true })
      emulator.addFault({ call: 'create', kind: 'status', status: 429, retry_after: 1, share: 1 })
      known.submitting = [await create('submitting')]
      await until(() => emulator.predictions.length > before, 'the create whose answer is lost')
    },
    /** Runs the commands of a backup while clients create tasks. Those that were acknowledged before have to be in it. @returns what the commands print */
    async backUp (commands: () => Promise<string>): Promise<string> {
      const over = new AbortController()
      const created: Created[] = []
      const clients = Array.from({ length: 4 }, async (_, index) => {
        while (!over.signal.aborted) created.push(await create(`queued by ${index} after ${created.length} others`))
      })
      await until(() => created.length > 50, 'tasks to be created')
      known.queued = created.slice()
      backedUpAt = Date.now()
      const printed = await commands()
      over.abort()
      await Promise.all(clients)
      return printed
    },
    /** The service goes on after the backup, and is then lost. */
    async loseEverything (): Promise<void> {
      emulator.clearFaults()
      late = await create('late')
      await reaches([...known.queued, late], 'processing')
      await service.kill()
      emulator.settings.generationMs = 50
      for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
    },
    async checkAfterDeadline (): Promise<void> {
      await until(() => Date.now() > backedUpAt + deadlineS * 1_000, 'the deadline of the tasks in the backup', { timeoutMs: 60_000 })
      service = await start()
      client = await connect(service)
      await reaches([...known.queued, ...known.submitting], 'failed')
      // Replicate refuses each attempt with 429, so at the moment of the backup some of them are being submitted.
      for (const task of known.queued) t.match(await read(task), { error_code: /^(provider_rate_limited|submission_unknown)$/ }, task.dream)
      t.match(await Promise.all(known.submitting.map(read)), [{ error_code: 'submission_unknown' }])
      await checkCompleted(t)
      checkPaidOnce(t, Object.values(known).flat())
    },
    async checkAtOnce (): Promise<void> {
      service = await start()
      client = await connect(service)
      await reaches([...known.queued, ...known.submitting], 'completed')
      await checkCompleted(t)
      checkPaidOnce(t, [...known.completed, ...known.generating, ...known.submitting])
      const counts = known.queued.map(predictionsOf)
      t.ok(counts.includes(2), 'tasks that were queued were submitted after the backup, and again after the restore')
      t.ok(counts.every((count) => count === 1 || count === 2), 'the prediction of a task that was being submitted was found')
    }
  }
}

async function readCommands (): Promise<string[]> {
  const document = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  return Array.from(document.matchAll(/```sh\n([^]*?)```/g), ([, code]) => String(code))
}

async function run (script: string, env: Record<string, string>): Promise<string> {
  return (await promisify(execFile)('sh', ['-euc', script], { env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env } })).stdout
}
