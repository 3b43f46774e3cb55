import type { FastifyPluginAsync } from 'fastify'
import type { HooksFor } from '../call-hooks.ts'
import type { Emulator } from '../emulator.ts'

interface Options {
  emulator: Emulator
  hooksFor: HooksFor
}

export const accountRoutes: FastifyPluginAsync<Options> = async (app, { emulator, hooksFor }) => {
  app.get('/account', hooksFor('account'), async () => ({
    type: 'user', username: 'emulator', name: 'Replicate emulator', github_url: null, avatar_url: null
  }))

  app.get('/webhooks/default/secret', hooksFor('secret'), async () => ({ key: emulator.webhookSecret }))
}
