import fp from 'fastify-plugin'
import { createSqliteTaskStore } from '../services/store/sqlite/sqlite-task-store.ts'
import { SteadyClock } from '../services/runtime/steady-clock.ts'
import type { TaskStore } from '../services/store/task-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    taskStore: TaskStore
  }
}

export interface TaskStoreOptions {
  /** a PostgreSQL for many instances; without it there is a file in `dataDir`, for one */
  databaseUrl: string | undefined
  dataDir: string
}

/** Last of all, and below the grace after which the process is killed: a database may say nothing any more. */
const closed = { forMs: 5_000, byMs: 24_000 }

/** Puts the store of all tasks on the instance and closes it last. */
export default fp<TaskStoreOptions>(async (app, { databaseUrl, dataDir }) => {
  const { log } = app
  const taskStore = databaseUrl === undefined
    ? createSqliteTaskStore({ dataDir, now: new SteadyClock(Date.now).now, log })
    : await openShared(databaseUrl)
  app.decorate('taskStore', taskStore)
  app.addHook('onClose', () => app.shutdownTimer.waitFor('the task store to close', taskStore.close(), closed))

  /** Its driver and its job engine are loaded only where they are used: they are a fifth of the time to start. */
  async function openShared (databaseUrl: string): Promise<TaskStore> {
    const { createPostgresTaskStore } = await import('../services/store/postgres/postgres-task-store.ts')
    return createPostgresTaskStore({ databaseUrl, log })
  }
}, { name: 'task-store', dependencies: ['lifecycle'] })
