import { stopServer } from './postgres.ts'

// A run that was interrupted may have left its PostgreSQL behind; it may also have stopped on its own.
await stopServer().catch(() => undefined)
