import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { buildApp } from '../app.ts'
import { readConfig } from '../config.ts'
import { buildEmulator } from '../replicate-emulator/app.ts'
import { StartError } from '../services/runtime/start-error.ts'
import { openTerminalOutput } from '../services/runtime/terminal-output.ts'

/**
 * Runs the emulator and the service together, without an account and without files: `npm run demo`. HOST, PORT and EMULATOR_PORT set the
 * addresses; CALLBACK_SECRET and ALLOW_PRIVATE_CALLBACKS make callbacks possible.
 */
const { HOST: host = '127.0.0.1', PORT, EMULATOR_PORT, CALLBACK_SECRET, ALLOW_PRIVATE_CALLBACKS } = process.env

const emulator = buildEmulator({ generationMs: 8_000 })
emulator.emulator.addOutcome({ status: 'succeeded', progress: true, share: 1 })
try {
  const emulatorAddress = await listen(emulator, 'EMULATOR_PORT', EMULATOR_PORT, 3001)
  const logStream = await openTerminalOutput(process.stdout)
  const app = await buildApp(readConfig({
    LOG_LEVEL: 'warn',
    REPLICATE_POLL_INTERVAL_MS: '1000',
    DATA_DIR: ':memory:',
    HOST: host,
    // The emulator costs nothing.
    ALLOW_ANONYMOUS: 'true',
    CALLBACK_SECRET,
    ALLOW_PRIVATE_CALLBACKS,
    REPLICATE_API_URL: `${emulatorAddress}/v1`,
    REPLICATE_API_TOKEN: 'demo'
  }), logStream && { logStream })
  printChanges(app)
  const address = await listen(app, 'PORT', PORT, 3000)
  closeWithGrace(async () => {
    await app.close()
    await emulator.close()
  })
  printWelcome(address, emulatorAddress)
} catch (error) {
  console.error(error instanceof StartError ? error.message : error)
  process.exit(1)
}

/** Listens on the given port, otherwise on the default port, or on a free one if that is in use. */
async function listen (server: Pick<FastifyInstance, 'listen'>, name: string, given: string | undefined, defaultPort: number): Promise<string> {
  const port = given ? Number(given) : await isFree(defaultPort) ? defaultPort : 0
  try {
    return await server.listen({ port, host })
  } catch (error) {
    throw new StartError(`The demo cannot listen on ${host}, ${name} ${port}: ${error instanceof Error ? error.message : error}`)
  }
}

async function isFree (port: number): Promise<boolean> {
  const server = createServer().listen(port, host)
  const listening = await once(server, 'listening').then(() => true, () => false)
  if (!listening) return false
  server.close()
  await once(server, 'close')
  return true
}

/** Prints a line for each change of a task, without the dream. */
function printChanges (app: FastifyInstance): void {
  const lastLines = new Map<string, string>()
  const print = async (taskId: string): Promise<void> => {
    const task = await app.taskStore.get(taskId)
    if (task === undefined) return
    const { style, status, progress, video_url: video, error } = app.presentTask(task, null)
    const line = `${taskId} ${style}: ${[status, status === 'processing' && progress !== null && `${progress} %`, video, error].filter(Boolean).join(' ')}`
    if (lastLines.get(taskId) !== line) console.log(line)
    if (status === 'completed' || status === 'failed') lastLines.delete(taskId)
    else lastLines.set(taskId, line)
  }
  app.taskStore.onEvent((news) => {
    if (news.kind !== 'changed') return
    for (const taskId of news.taskIds) print(taskId).catch((error: unknown) => console.error(error))
  })
}

function printWelcome (address: string, emulatorAddress: string): void {
  console.log(`
Open ${address}/ and type a dream, or make a video with curl:

  curl -X POST '${address}/generate-video?dream=A%20whale%20swims%20through%20the%20clouds&style=Animated'

Each change of the task is printed here. You can also ask for it, with the task_id of the answer:

  curl ${address}/video-status/TASK_ID

The API is described at ${address}/docs. The emulator at ${emulatorAddress} replaces Replicate: it is free, and a
video takes 8 seconds. Ctrl-C stops both and leaves nothing behind.
`)
}
