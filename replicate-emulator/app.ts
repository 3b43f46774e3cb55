import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { apiHooks, fileHooks } from './call-hooks.ts'
import { Emulator, type EmulationOptions } from './emulator.ts'
import { replyNotFound, replyWithError } from './error-replies.ts'
import { jsonBody } from './json-body.ts'
import { accountRoutes } from './routes/account.ts'
import { controlRoutes } from './routes/control.ts'
import { fileRoutes } from './routes/files.ts'
import { predictionRoutes } from './routes/predictions.ts'

/** All are optional; the defaults of the settings are in `settings.ts`. */
export interface EmulatorOptions extends EmulationOptions {
  /** Every other bearer token is refused with 401; without it any token is accepted. */
  token?: string
  logger?: Exclude<FastifyServerOptions['logger'], undefined>
}

export type EmulatorApp = FastifyInstance & { readonly emulator: Emulator }

const bodyLimit = 32 * 1024 * 1024

/**
 * Replicate's HTTP API under `/v1`, its files under `/files` and `/v1/files`, and the control interface under `/emulator`. Addresses in
 * answers begin with whatever the client's Host header says.
 */
export function buildEmulator ({ token, logger = false, ...options }: EmulatorOptions = {}): EmulatorApp {
  const app = fastify({
    logger,
    bodyLimit,
    // A call with the fault `hang` would otherwise keep `close` waiting for ever.
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 1000 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, allErrors: true } }
  })
  const emulator = new Emulator(options)
  const hooksFor = apiHooks(emulator, token)

  app.setErrorHandler(replyWithError)
  app.setNotFoundHandler(replyNotFound)
  // Before the delay of `latencyMs`, which is that of the network.
  app.addHook('onSend', (request, reply, payload, done) => {
    reply.header('date', new Date(emulator.clock.read()).toUTCString())
    done()
  })
  app.addHook('onClose', () => emulator.close())

  app.register(jsonBody)
  app.register(predictionRoutes, { prefix: '/v1', emulator, hooksFor })
  app.register(accountRoutes, { prefix: '/v1', emulator, hooksFor })
  app.register(fileRoutes, { prefix: '/files', emulator, hooksFor: fileHooks(emulator) })
  app.register(fileRoutes, { prefix: '/v1/files', emulator, hooksFor })
  app.register(controlRoutes, { prefix: '/emulator', emulator })
  return Object.assign(app, { emulator })
}
