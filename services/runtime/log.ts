/** The part of a logger that services use. The loggers of pino and Fastify have it. */
export interface Log {
  debug (details: object, message: string): void
  info (details: object, message: string): void
  warn (details: object, message: string): void
  error (details: object, message: string): void
}
