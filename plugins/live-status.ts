import fp from 'fastify-plugin'
import { TaskSubscriptions } from '../services/live-status/task-subscriptions.ts'

declare module 'fastify' {
  interface FastifyInstance {
    taskSubscriptions: TaskSubscriptions
  }
}

const pollIntervalMs = 15_000

/** Notifies waiting requests of this instance when a task changes. They end before the server closes, because it waits for them. */
export default fp(async (app) => {
  const subscriptions = new TaskSubscriptions()
  app.taskStore.onEvent((event) => subscriptions.notify(event))
  // A client whose key was removed waits no longer.
  app.accessControl.onKeysReplaced(() => subscriptions.notify({ kind: 'resync' }))
  app.decorate('taskSubscriptions', subscriptions)
  let polling: Promise<void> | undefined
  const timer = setInterval(() => {
    polling ??= subscriptions.poll((taskId) => app.taskStore.get(taskId))
      .catch((err: unknown) => app.log.debug({ err }, 'The tasks that requests wait for cannot be read; trying again soon'))
      .finally(() => { polling = undefined })
  }, pollIntervalMs).unref()
  app.addHook('preClose', async () => {
    clearInterval(timer)
    subscriptions.stop()
  })
  app.addHook('onClose', async () => polling)
}, { name: 'live-status', dependencies: ['access', 'task-store'] })
