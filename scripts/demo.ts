import closeWithGrace from 'close-with-grace'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildApp } from '../app.ts'
import { readConfig } from '../config.ts'
import { buildEmulator } from '../replicate-emulator/app.ts'

/**
 * The emulator and the service together, with no account: `npm run demo`. PORT and EMULATOR_PORT may name other
 * ports, WEBHOOK_SECRET and ALLOW_PRIVATE_CALLBACKS make callbacks possible.
 */
const emulator = buildEmulator({ generationMs: 8_000 })
const emulatorAddress = await emulator.listen({ port: Number(process.env.EMULATOR_PORT ?? 3001), host: '127.0.0.1' })

const app = await buildApp(readConfig({
  LOG_LEVEL: 'warn',
  POLL_INTERVAL_MS: '1000',
  DATA_DIR: await mkdtemp(join(tmpdir(), 'dreamreel-demo-')),
  PORT: process.env.PORT,
  WEBHOOK_SECRET: process.env.WEBHOOK_SECRET,
  ALLOW_PRIVATE_CALLBACKS: process.env.ALLOW_PRIVATE_CALLBACKS,
  REPLICATE_API_URL: `${emulatorAddress}/v1`,
  REPLICATE_API_TOKEN: 'demo'
}))
const address = await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' })

console.log(`
The service     ${address}      a page to try it: ${address}/docs
The emulator    ${emulatorAddress}      in place of Replicate: free, and a video takes 8 seconds

Make a video:

  curl -X POST '${address}/generate-video?dream=A%20whale%20swims%20through%20the%20clouds&style=Animated'

The answer holds a task_id. Ask what has become of it, until its status is "completed":

  curl ${address}/video-status/TASK_ID

Then open its video_url in a browser. Ctrl-C stops both.
`)
closeWithGrace(async () => {
  await app.close()
  await emulator.close()
})
