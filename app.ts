import Fastify, { type FastifyInstance } from 'fastify'
import { allowedOrigins, collectSecrets, fileSources, parseOtlpHeaders, s3Options, trustedProxies, type Config } from './config.ts'
import { ProblemSchema } from './errors.ts'
import access from './plugins/access.ts'
import callbacks from './plugins/callbacks.ts'
import clientAddress from './plugins/client-address.ts'
import crossOrigin from './plugins/cross-origin.ts'
import crossSiteGuard from './plugins/cross-site-guard.ts'
import frameExtractor from './plugins/frame-extractor.ts'
import generationJobs from './plugins/generation-jobs.ts'
import lifecycle from './plugins/lifecycle.ts'
import liveStatus from './plugins/live-status.ts'
import loadShedding from './plugins/load-shedding.ts'
import metrics from './plugins/metrics.ts'
import openapi from './plugins/openapi.ts'
import problemDetails from './plugins/problem-details.ts'
import replicateClient from './plugins/replicate-client.ts'
import replicateWebhooks from './plugins/replicate-webhooks.ts'
import requestLimits from './plugins/request-limits.ts'
import requestLog from './plugins/request-log.ts'
import retention from './plugins/retention.ts'
import taskStore from './plugins/task-store.ts'
import taskView from './plugins/task-view.ts'
import tracing from './plugins/tracing.ts'
import unknownAddresses from './plugins/unknown-addresses.ts'
import videoArchive from './plugins/video-archive.ts'
import videoDownloader from './plugins/video-downloader.ts'
import cancelVideoRoutes from './routes/cancel-video.ts'
import deleteVideoRoutes from './routes/delete-video.ts'
import generateVideoRoutes, { AcceptedTaskSchema } from './routes/generate-video.ts'
import healthRoutes, { HealthSchema } from './routes/health.ts'
import replicateWebhookRoutes from './routes/replicate-webhooks.ts'
import { requireCaller } from './routes/require-caller.ts'
import serviceStatusRoutes, { ServiceStatusSchema } from './routes/service-status.ts'
import studioRoutes from './routes/studio.ts'
import videoEventsRoutes, { TaskEventsSchema } from './routes/video-events.ts'
import videoListRoutes, { TaskListSchema } from './routes/video-list.ts'
import videoStatusRoutes from './routes/video-status.ts'
import videosRoutes from './routes/videos.ts'
import { serverOptions, type ServerOptions } from './server-options.ts'
import { CallbackMessageSchema } from './services/callbacks/callback-message.ts'
import { isLoopback } from './services/net/ip-address.ts'
import { styleModels } from './services/replicate/models.ts'
import { StyleSchema, TaskFailureCodeSchema, TaskSchema, TaskStatusSchema } from './services/tasks/task-view.ts'

const msPerMinute = 60 * 1_000
const msPerDay = 24 * 60 * msPerMinute

/**
 * Builds the whole service, ready to listen. It works on open tasks from `ready` until it is closed.
 * @param server options of the server that a test changes
 * @throws StartError if the task store cannot be opened
 */
export async function buildApp (config: Config, server: Partial<ServerOptions> = {}): Promise<FastifyInstance> {
  const proxies = trustedProxies(config)
  const origins = allowedOrigins(config)
  const app = Fastify(serverOptions({ logLevel: config.LOG_LEVEL, secrets: collectSecrets(config), trustedProxies: proxies, maxConnectionsPerAddress: config.MAX_CONNECTIONS_PER_ADDRESS, requestTimeoutMs: 30_000, timeoutCheckMs: 5_000, lingeringMs: 10_000, idleTimeoutMs: 120_000, ...server }))

  await app.register(problemDetails)
  await app.register(clientAddress, { proxies })
  await app.register(crossOrigin, { origins })
  await app.register(unknownAddresses)
  await app.register(requestLog)
  await app.register(loadShedding, { maxEventLoopDelayMs: config.MAX_EVENT_LOOP_DELAY_MS })
  await app.register(access, { keysFile: config.API_KEYS_FILE, keys: config.API_KEYS, isLoopbackOnly: isLoopback(config.HOST) && config.TRUST_PROXY === undefined })
  await app.register(crossSiteGuard, {
    publicUrl: config.PUBLIC_URL,
    allowedHosts: config.ALLOWED_HOSTS?.toLowerCase().split(/ *, */) ?? [],
    allowedOrigins: origins
  })
  await app.register(lifecycle)
  await app.register(openapi, { fileSources: fileSources(config) })
  if (config.STUDIO === 'on') await app.register(studioRoutes, { fileSources: fileSources(config) })

  await app.register(taskStore, { databaseUrl: config.DATABASE_URL, dataDir: config.DATA_DIR })
  const { now } = app.taskStore
  await app.register(tracing, { endpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT, headers: parseOtlpHeaders(config) })
  const retentionMs = config.RETENTION_DAYS === 0 ? null : config.RETENTION_DAYS * msPerDay
  await app.register(taskView, { publicUrl: config.PUBLIC_URL, retentionMs })
  await app.register(videoArchive, { s3: s3Options(config), dataDir: config.DATA_DIR, isStoreShared: config.DATABASE_URL !== undefined })
  await app.register(retention, { retentionMs, orphanAgeMs: config.VIDEO_ORPHAN_AGE_MINUTES * msPerMinute })
  await app.register(liveStatus)
  await app.register(replicateClient, config)
  await app.register(videoDownloader, { apiUrl: config.REPLICATE_API_URL, apiToken: config.REPLICATE_API_TOKEN, maxBytes: config.MAX_VIDEO_BYTES })
  await app.register(frameExtractor, { ffmpegPath: config.FFMPEG_PATH })
  await app.register(replicateWebhooks, config)
  // Registered before the jobs, so that the jobs stop first, while the responses of callback receivers are awaited.
  const allowPrivate = config.ALLOW_PRIVATE_CALLBACKS
  await app.register(callbacks, { secret: config.CALLBACK_SECRET, allowPrivate })
  await app.register(generationJobs, {
    models: styleModels(config),
    replicateApiUrl: config.REPLICATE_API_URL,
    maxInFlight: config.MAX_IN_FLIGHT,
    videoCopiesAtOnce: config.VIDEO_COPIES_AT_ONCE,
    pollIntervalMs: config.REPLICATE_POLL_INTERVAL_MS,
    sweepThreshold: config.REPLICATE_SWEEP_THRESHOLD,
    createTimeoutMs: config.REPLICATE_CREATE_TIMEOUT_MS,
    listLagMs: config.REPLICATE_LIST_LAG_MS,
    now
  })
  await app.register(requestLimits, { createsPerMinute: config.CREATES_PER_MINUTE, readsPerMinute: config.READS_PER_MINUTE })
  await app.register(metrics, { port: config.METRICS_PORT, host: config.HOST })

  const schemas = [
    StyleSchema, TaskStatusSchema, TaskFailureCodeSchema, TaskSchema, TaskListSchema, TaskEventsSchema, AcceptedTaskSchema,
    CallbackMessageSchema, ServiceStatusSchema, HealthSchema, ProblemSchema
  ]
  for (const schema of schemas) app.addSchema(schema)
  await app.register(async (scope) => {
    requireCaller(scope)
    scope.addHook('onRequest', app.limitRequest)
    await scope.register(generateVideoRoutes, {
      deadlineSeconds: config.TASK_DEADLINE_SECONDS, maxOpenTasks: config.MAX_OPEN_TASKS, callbackRules: { canSign: config.CALLBACK_SECRET !== undefined, allowPrivate }, now
    })
    await scope.register(videoStatusRoutes)
    await scope.register(videoEventsRoutes)
    await scope.register(cancelVideoRoutes)
    await scope.register(videoListRoutes)
    await scope.register(deleteVideoRoutes)
    await scope.register(serviceStatusRoutes)
  })
  await app.register(videosRoutes, { delivery: config.VIDEO_DELIVERY })
  if (app.replicateWebhooks.isEnabled) await app.register(replicateWebhookRoutes)
  await app.register(healthRoutes)
  return app
}
