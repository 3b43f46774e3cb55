import fp from 'fastify-plugin'
import { SteadyClock } from '../services/runtime/steady-clock.ts'
import { createSqliteTaskStore } from '../services/store/sqlite/sqlite-task-store.ts'
import type { TaskStore } from '../services/store/task-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    taskStore: TaskStore
  }
}

export interface TaskStoreOptions {
  /** the PostgreSQL that several instances share; undefined for a SQLite file in `dataDir`, for one instance */
  databaseUrl: string | undefined
  dataDir: string
}

/** The store closes last. The limit is below the time after which the process is killed, because a database may never answer. */
const closed = { forMs: 5_000, byMs: 24_000 }

/** Decorates the instance with the task store and closes it last. */
export default fp<TaskStoreOptions>(async (app, { databaseUrl, dataDir }) => {
  const { log } = app
  const taskStore = databaseUrl === undefined
    ? createSqliteTaskStore({ dataDir, now: new SteadyClock(Date.now).now, log })
    : await openPostgresStore(databaseUrl)
  app.decorate('taskStore', taskStore)
  app.addHook('onClose', () => app.shutdownTimer.waitFor('the task store to close', taskStore.close(), closed))

  /** Imports the driver and the job engine only when they are used, because loading them takes a fifth of the start time. */
  async function openPostgresStore (databaseUrl: string): Promise<TaskStore> {
    const { createPostgresTaskStore } = await import('../services/store/postgres/postgres-task-store.ts')
    return createPostgresTaskStore({ databaseUrl, log })
  }
}, { name: 'task-store', dependencies: ['lifecycle'] })
