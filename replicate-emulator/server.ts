import closeWithGrace from 'close-with-grace'
import { buildEmulator } from './app.ts'
import { readEnvironment, type ServerOptions } from './environment.ts'

function readOptions (): ServerOptions {
  try {
    return readEnvironment(process.env)
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  }
}

const { port, host, emulator } = readOptions()
const app = buildEmulator(emulator)
closeWithGrace({ delay: 5000, logger: false }, async () => { await app.close() })

try {
  console.log(`Replicate emulator: REPLICATE_API_URL=${await app.listen({ port, host })}/v1`)
} catch (error) {
  console.error(`Cannot listen on ${host}:${port}: ${error instanceof Error ? error.message : error}`)
  process.exit(1)
}
