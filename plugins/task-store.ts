import fp from 'fastify-plugin'
import { createPostgresTaskStore } from '../services/postgres-task-store.ts'
import { createSqliteTaskStore } from '../services/sqlite-task-store.ts'
import type { TaskStore } from '../services/task-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    taskStore: TaskStore
  }
}

export interface TaskStoreOptions {
  /** a PostgreSQL for many instances; without it there is a file in `dataDir`, for one */
  databaseUrl: string | undefined
  dataDir: string
  now: () => number
}

/** Puts the store of all tasks on the instance and closes it last. */
export default fp<TaskStoreOptions>(async (app, { databaseUrl, dataDir, now }) => {
  const taskStore = databaseUrl === undefined
    ? createSqliteTaskStore({ dataDir, now })
    : await createPostgresTaskStore({ databaseUrl, now, log: app.log })
  app.decorate('taskStore', taskStore)
  app.addHook('onClose', () => taskStore.close())
}, { name: 'task-store' })
