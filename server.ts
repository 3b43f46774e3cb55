import { enableCompileCache, flushCompileCache } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'

// Before the server listens a signal ends the process at once: the wait for a database may take 30 s, and no request has been accepted
// yet. The handlers are needed, because the first process of a container gets no signal that it does not handle.
const signals = ['SIGTERM', 'SIGINT'] as const
const endAtOnce = () => process.exit(0)
for (const signal of signals) process.once(signal, endAtOnce)

// This comes before all other imports, so that from the second start on Node neither strips types nor compiles.
enableCompileCache()
const { default: closeWithGrace } = await import('close-with-grace')
const { buildApp } = await import('./app.ts')
const { describeMisspelt, readConfig, collectSecrets } = await import('./config.ts')
const { createRedactor } = await import('./services/runtime/redact-secrets.ts')
const { openStandardOutput } = await import('./services/runtime/standard-output.ts')
const { startLine } = await import('./start-line.ts')
const { StartError } = await import('./services/runtime/start-error.ts')
const { openTerminalOutput } = await import('./services/runtime/terminal-output.ts')

/** Longer than the longest call to Replicate that a stopping instance waits for. */
const graceMs = 25_000
/** For the last log lines, if the reader of a pipe is slow. */
const flushMs = 500
const output = openStandardOutput()

try {
  const config = readConfig(process.env)
  const app = await buildApp(config, { logStream: await openTerminalOutput(process.stdout) ?? output })
  for (const hint of describeMisspelt(process.env)) app.log.warn({ hint }, 'A variable of the environment is probably a misspelt setting')
  if (app.accessControl.isOpen) app.log.warn('There are no API keys: everyone who reaches this service can create videos at your expense. Set API_KEYS_FILE or API_KEYS')
  const shutdownDelayMs = config.SHUTDOWN_DELAY_SECONDS * 1000
  closeWithGrace({ delay: shutdownDelayMs + graceMs, logger: app.log }, async ({ err, signal }) => {
    if (err === undefined) app.log.info({ signal }, 'Stopping')
    else app.log.fatal({ err }, 'Stopping after an unhandled error')
    app.announceShutdown()
    if (err === undefined) await delay(shutdownDelayMs)
    await app.close().finally(() => output.flush(flushMs))
  })
  for (const signal of signals) process.off(signal, endAtOnce)
  await app.listen({ host: config.HOST, port: config.PORT })
  app.log.info(startLine(config, {
    webhooks: app.replicateWebhooks.isEnabled, ffmpeg: app.frameExtractor !== undefined, metrics: app.metricsAddress, access: app.accessControl.describe()
  }, app.addresses()), 'Dreamreel is up')
  // Otherwise Node would write the cache only when the process ends by itself, and not when it is killed.
  flushCompileCache()
} catch (error) {
  const isExplained = error instanceof StartError || isListenError(error)
  console.error(createRedactor(collectSecrets(process.env))(isExplained ? error.message : inspect(error)))
  await output.flush(flushMs)
  process.exit(1)
}

/** Whether the address is in use, not permitted or not one of this machine. Node's message says which. */
function isListenError (error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error && error.syscall === 'listen'
}
