import Fastify from '/work/main/node_modules/fastify/fastify.js'
import { createWriteStream } from 'node:fs'
import { serverOptions } from '/work/main/server-options.ts'
import problemDetails from '/work/main/plugins/problem-details.ts'
import requestLog from '/work/main/plugins/request-log.ts'
const kind = process.argv[2]
const file = '/tmp/perf.log'
const app = kind === 'bare'
  ? Fastify({ logger: { level: 'info', file } })
  : Fastify({ ...serverOptions({ logLevel: 'info', requestTimeoutMs: 30000, timeoutCheckMs: 5000 }), logger: { ...serverOptions({ logLevel: 'info', requestTimeoutMs: 30000, timeoutCheckMs: 5000 }).logger, file } })
if (kind !== 'bare') { await app.register(problemDetails); await app.register(requestLog) }
app.get('/video-status/:task_id', async (r) => ({ id: r.params.task_id }))
await app.listen({ port: kind === 'bare' ? 4801 : 4802 })
