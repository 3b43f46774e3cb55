import Fastify from 'fastify'
import { serverOptions } from '../server-options.ts'
import problemDetails from '../plugins/problem-details.ts'
import requestLog from '../plugins/request-log.ts'
import autocannon from 'autocannon'
import { Worker, isMainThread, workerData } from 'node:worker_threads'
const kind = process.argv[2] ?? ''
const file = '/tmp/perf.log'
const o = serverOptions({ logLevel: 'info', requestTimeoutMs: 30000, timeoutCheckMs: 5000 })
let opts: any = { logger: { level: 'info', file } }
if (kind !== 'bare') opts = { ...o, logger: { ...o.logger, file } }
if (kind === 'nohook') delete opts.logger.hooks
if (kind === 'nocontroller') delete opts.logController
if (kind === 'nofactory') { delete opts.serverFactory }
if (kind === 'nocompile') opts.routerOptions = { ...opts.routerOptions, compile: false }
const app = Fastify(opts)
if (kind !== 'bare' && kind !== 'noproblem') await app.register(problemDetails)
await app.register(requestLog)
app.get('/video-status/:task_id', async (r: any) => ({ id: r.params.task_id }))
await app.listen({ port: 0 , host: '127.0.0.1'})
process.stdout.write(String((app.server.address() as any).port) + '\n')
process.on('SIGTERM', () => { process.exit() })
process.on('SIGUSR2', () => { const c = process.cpuUsage(); process.stdout.write('CPU ' + (c.user + c.system) + '\n') })
