import { buildBareFastify } from './bare-fastify.ts'

/** The bare Fastify as a process: the port is the first argument, and it logs what the service logs, at level info. */
await buildBareFastify({ logger: { level: 'info' } }).listen({ port: Number(process.argv[2]), host: '127.0.0.1' })
