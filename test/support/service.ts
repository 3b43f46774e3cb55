import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import * as harness from '../../harness/emulator.ts'
import { unlimited } from '../../harness/unlimited.ts'
import { until } from '../../harness/until.ts'
import type { EmulatorOptions } from '../../replicate-emulator/app.ts'
import type { ServerOptions } from '../../server-options.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'

/** A fast emulator on a free port, closed when the test ends. */
export async function startEmulator (t: Test, options: EmulatorOptions = {}) {
  const { emulator, apiUrl, close } = await harness.startEmulator({ generationMs: 50, startingMs: 10, rateLimits: false, ...options })
  t.teardown(close)
  return { emulator, apiUrl }
}

/** The settings of every test of the service: no files, and short intervals. */
export const testEnvironment = {
  REPLICATE_API_TOKEN: 'test-token',
  DATA_DIR: ':memory:',
  LOG_LEVEL: 'trace',
  FFMPEG_PATH: 'off',
  REPLICATE_POLL_INTERVAL_MS: '20',
  REPLICATE_CREATE_TIMEOUT_MS: '3000',
  REPLICATE_LIST_LAG_MS: '0',
  ...unlimited
}

export interface ServiceOptions {
  emulator?: EmulatorOptions
  env?: Record<string, string>
  /** options of the server that are no settings */
  server?: Partial<ServerOptions>
}

/** The service in this process, with an emulator and every line that it logs. Both are closed when the test ends. */
export async function startService (t: Test, { emulator: options = {}, env = {}, server = {} }: ServiceOptions = {}) {
  const { emulator, apiUrl } = await startEmulator(t, options)
  const logLines: string[] = []
  const config = readConfig({ ...testEnvironment, REPLICATE_API_URL: apiUrl, ...env })
  const app = await buildApp(config, { ...server, logStream: { write: (line) => { logLines.push(line) } } })
  t.teardown(() => app.close())
  await app.ready()
  return { app, emulator, apiUrl, logLines }
}

export async function postDream (app: FastifyInstance, dream = 'A whale in the clouds', style = 'Realistic'): Promise<string> {
  const response = await app.inject({ method: 'POST', url: '/generate-video', query: { dream, style } })
  if (response.statusCode !== 200) throw new Error(response.body)
  return response.json().task_id
}

export async function statusOf (app: FastifyInstance, taskId: string): Promise<TaskView> {
  return (await app.inject(`/video-status/${taskId}`)).json()
}

/** The task as soon as it has ended. */
export function ended (app: FastifyInstance, taskId: string): Promise<TaskView> {
  return until(async () => {
    const task = await statusOf(app, taskId)
    return task.status === 'completed' || task.status === 'failed' ? task : undefined
  }, `task ${taskId} to end`)
}
