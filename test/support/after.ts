import { stopServer } from './postgres.ts'

await stopServer()
