import { rmSync } from 'node:fs'
import { runningServer, runningServerFile } from './postgres.ts'

if (process.env.TEST_DATABASE_URL === undefined) {
  const server = runningServer()
  rmSync(runningServerFile)
  await server.stop()
}
