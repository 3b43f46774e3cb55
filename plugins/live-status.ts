import fp from 'fastify-plugin'
import { TaskSubscriptions } from '../services/task-subscriptions.ts'

declare module 'fastify' {
  interface FastifyInstance {
    taskSubscriptions: TaskSubscriptions
  }
}

/** Tells waiting requests of this instance when a task changes. They end before the server closes: it waits for them. */
export default fp(async (app) => {
  const subscriptions = new TaskSubscriptions()
  app.taskStore.onNews((news) => subscriptions.hear(news))
  app.decorate('taskSubscriptions', subscriptions)
  app.addHook('preClose', async () => subscriptions.stop())
}, { name: 'live-status', dependencies: ['task-store'] })
