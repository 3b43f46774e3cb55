import fp from 'fastify-plugin'
import type { AddressInfo } from 'node:net'
import { MetricsServer } from './prometheus/metrics-server.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Where `GET /metrics` is served; undefined if it is off. */
    metricsAddress: AddressInfo | undefined
  }
}

export interface MetricsPluginOptions {
  /** undefined: no metrics, and their library is not loaded */
  port: number | undefined
  host: string
}

/** A scrape takes milliseconds, or up to 2 s while the database does not answer. */
const closed = { forMs: 3_000, byMs: 22_000 }

/**
 * Serves metrics of this instance to Prometheus. They are measured from the messages that services publish, so that no service knows
 * of them.
 * @throws StartError if the port cannot be used
 */
export default fp<MetricsPluginOptions>(async (app, { port, host }) => {
  if (port === undefined) {
    app.decorate('metricsAddress', undefined)
    return
  }
  const { createMetrics } = await import('./prometheus/create-metrics.ts')
  const metrics = createMetrics(app)
  const server = await MetricsServer.listen({ host, port, contentType: metrics.contentType, scrape: () => metrics.scrape(), log: app.log })
  app.decorate('metricsAddress', server.address)
  app.addHook('onClose', async () => {
    metrics.close()
    await app.shutdownTimer.waitFor('scrapes of the metrics', server.close(), closed)
    server.closeConnections()
  })
}, { name: 'metrics', dependencies: ['lifecycle', 'task-store', 'replicate-client', 'generation-jobs'] })
