import fp from 'fastify-plugin'
import { createSqliteTaskStore, type SqliteTaskStoreOptions } from '../services/sqlite-task-store.ts'
import type { TaskStore } from '../services/task-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    taskStore: TaskStore
  }
}

/** Puts the store of all tasks on the instance and closes it last. */
export default fp<SqliteTaskStoreOptions>(async (app, options) => {
  const taskStore = createSqliteTaskStore(options)
  app.decorate('taskStore', taskStore)
  app.addHook('onClose', () => taskStore.close())
}, { name: 'task-store' })
