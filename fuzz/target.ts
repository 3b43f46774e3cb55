import type { FastifyInstance } from 'fastify'
import { Webhook } from 'standardwebhooks'
import { buildApp } from '../app.ts'
import { readConfig } from '../config.ts'
import { startEmulator } from '../harness/emulator.ts'
import { freePort } from '../harness/free-port.ts'
import { unlimited } from '../harness/unlimited.ts'
import { until } from '../harness/until.ts'
import { newWebhookSecret } from '../harness/webhook-secret.ts'
import type { Emulator } from '../replicate-emulator/emulator.ts'
import { createApiKey, hashApiKey } from '../services/access/api-key.ts'
import type { TaskView } from '../services/tasks/task-view.ts'
import { keyPlaceholders, type KeyPlaceholder } from './callers.ts'
import { LogCheck } from './log-check.ts'
import type { OpenApiDocument } from './openapi-operations.ts'
import { placeholders, type Placeholder } from './requests.ts'

const token = 'r8_a-token-that-no-line-may-have'
/** Requests that never become complete are refused after this time. */
const requestTimeoutMs = 400
const maxRemembered = 50
const noTask = '00000000-0000-7000-8000-000000000000'

/** The service in this process, listening on 127.0.0.1, with an emulator of Replicate and a task that has a video. */
export interface Target {
  port: number
  document: OpenApiDocument
  log: LogCheck
  /** what no answer and no log line may contain */
  secrets: readonly string[]
  /** Puts the names of tasks and files, and the keys, of this run into a text. */
  fillIn (text: string): string
  /** the ids of the tasks that the placeholders can stand for */
  tasks (): string[]
  /** Remembers a task for the placeholders, until it is deleted. */
  remember (taskId: string): void
  /** @param request the bytes that deleted it */
  forget (request: string): void
  /** Creates a task, and waits until its prediction is being made. */
  createRunning (): Promise<{ taskId: string, predictionId: string }>
  /** @returns the headers of a webhook that Replicate has signed */
  sign (body: string): Record<string, string>
  close (): Promise<void>
}

/** @param hasKeys whether it has API keys; the task then belongs to the key of `KEY-OWNER` */
export async function startTarget ({ hasKeys = false } = {}): Promise<Target> {
  const keys: Record<KeyPlaceholder, string> = { 'KEY-OWNER': createApiKey(), 'KEY-OTHER': createApiKey(), 'KEY-EXPIRED': createApiKey() }
  const entries = keyPlaceholders.map((name) => ({ name, sha256: hashApiKey(keys[name]).toString('hex'), ...name === 'KEY-EXPIRED' && { expires: '2020-01-01T00:00:00Z' } }))
  const secrets = [token, ...Object.values(keys), ...entries.map(({ sha256 }) => sha256)]
  const own = hasKeys ? { authorization: `Bearer ${keys['KEY-OWNER']}` } : {}
  const emulator = await startEmulator({ generationMs: 200, startingMs: 10, rateLimits: false, allowHttpWebhooks: true })
  // The address for webhooks has to be known before the service listens.
  const port = await freePort()
  const log = new LogCheck(secrets)
  const config = readConfig({
    REPLICATE_API_TOKEN: token,
    REPLICATE_API_URL: emulator.apiUrl,
    REPLICATE_POLL_INTERVAL_MS: '50',
    ...unlimited,
    ...hasKeys && { API_KEYS: JSON.stringify(entries) },
    DATA_DIR: ':memory:',
    FFMPEG_PATH: 'off',
    LOG_LEVEL: 'trace',
    CALLBACK_SECRET: newWebhookSecret(),
    ALLOW_PRIVATE_CALLBACKS: 'true',
    PUBLIC_URL: `http://127.0.0.1:${port}`,
    REPLICATE_WEBHOOKS: 'on'
  })
  const app = await buildApp(config, { logStream: log, requestTimeoutMs, timeoutCheckMs: 100, lingeringMs: 500, idleTimeoutMs: 5_000 })
  await app.listen({ host: '127.0.0.1', port })
  const ended = await createEnded(app, own)
  const accepted: string[] = []
  const values: Record<Placeholder, () => string> = {
    'TASK-ENDED': () => ended.id,
    'TASK-RECENT': () => accepted.at(-1) ?? noTask,
    'TASK-OLD': () => accepted[0] ?? noTask,
    'VIDEO-NAME': () => ended.video
  }
  return {
    port,
    document: (await app.inject('/openapi.json')).json(),
    log,
    secrets,
    fillIn: (text) => keyPlaceholders.reduce((filled, name) => filled.replaceAll(name, keys[name]), placeholders.reduce((filled, name) => filled.replaceAll(name, values[name]), text)),
    tasks: () => [ended.id, ...accepted],
    remember: (taskId) => {
      accepted.push(taskId)
      if (accepted.length > maxRemembered) accepted.shift()
    },
    forget: (request) => {
      const index = accepted.findIndex((id) => request.includes(id))
      if (index !== -1) accepted.splice(index, 1)
    },
    createRunning: () => createRunning(app, emulator.emulator),
    sign: (body) => {
      const at = new Date()
      const signature = new Webhook(emulator.emulator.webhookSecret).sign('msg_1', at, body)
      return { 'webhook-id': 'msg_1', 'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)), 'webhook-signature': signature }
    },
    close: async () => {
      await app.close()
      await emulator.close()
    }
  }
}

async function createTask (app: FastifyInstance, headers = {}): Promise<string> {
  const answer: { task_id: string } = (await app.inject({ method: 'POST', url: '/generate-video?dream=whale&style=Realistic', headers })).json()
  return answer.task_id
}

async function createRunning (app: FastifyInstance, emulator: Emulator): Promise<{ taskId: string, predictionId: string }> {
  const taskId = await createTask(app)
  const predictionId = await until(() => emulator.predictions.find(({ webhook }) => webhook?.endsWith(taskId) === true)?.id, 'the prediction')
  await until(async () => (await app.inject(`/video-status/${taskId}`)).json().status !== 'pending', 'the prediction to be attached')
  return { taskId, predictionId }
}

async function createEnded (app: FastifyInstance, headers: Record<string, string>): Promise<{ id: string, video: string }> {
  const id = await createTask(app, headers)
  const video = await until(async () => {
    const task: TaskView = (await app.inject({ url: `/video-status/${id}`, headers })).json()
    return task.video_url?.slice(task.video_url.lastIndexOf('/') + 1)
  }, 'the first video')
  return { id, video }
}
