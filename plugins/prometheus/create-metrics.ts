import type { FastifyInstance } from 'fastify'
import { measureDelivery } from './delivery-metrics.ts'
import { Metrics } from './metrics.ts'
import { measureProcess } from './process-metrics.ts'
import { measureReplicate } from './replicate-metrics.ts'
import { measureRequests } from './request-metrics.ts'
import { measureStore } from './store-metrics.ts'
import { measureTasks } from './task-metrics.ts'

/** Starts to measure. Call `close` at the end. */
export function createMetrics (app: FastifyInstance): Metrics {
  const metrics = new Metrics(app.log)
  measureRequests(metrics)
  measureTasks(metrics, app.taskStore.now)
  measureStore(metrics, app.taskStore)
  measureReplicate(metrics, app)
  measureDelivery(metrics)
  measureProcess(metrics)
  return metrics
}
