import fp from 'fastify-plugin'
import { ReplicateWebhooks } from '../services/replicate/replicate-webhooks.ts'

declare module 'fastify' {
  interface FastifyInstance {
    replicateWebhooks: ReplicateWebhooks
  }
}

/** The part of the configuration that says whether Replicate can reach this service. */
export interface WebhookAccess {
  REPLICATE_WEBHOOKS: 'auto' | 'on' | 'off'
  REPLICATE_WEBHOOK_SECRET?: string
  PUBLIC_URL?: string
}

/** Decorates the instance with the service that verifies webhooks of Replicate, and starts it when the instance is ready. */
export default fp<WebhookAccess>(async (app, { REPLICATE_WEBHOOKS: mode, REPLICATE_WEBHOOK_SECRET: secret, PUBLIC_URL: publicUrl = '' }) => {
  const isEnabled = mode === 'on' || (mode === 'auto' && publicUrl.startsWith('https:'))
  const { replicate, log } = app
  const webhooks = new ReplicateWebhooks({ publicUrl: isEnabled ? publicUrl : null, secret, replicate, log })
  app.decorate('replicateWebhooks', webhooks)
  app.addHook('onReady', async () => webhooks.start())
  app.addHook('onClose', () => webhooks.stop())
}, { name: 'replicate-webhooks', dependencies: ['replicate-client'] })
