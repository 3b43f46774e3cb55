import t from 'tap'
import { StoreUnavailableError } from '../../services/store/store-errors.ts'
import { matchList } from '../support/match-list.ts'
import { startService } from '../support/service.ts'

t.test('health checks are logged at debug, and readiness when it changes', async (t) => {
  const { app, logLines } = await startService(t)
  const lines = () => logLines.splice(0).map((line): Record<string, unknown> => JSON.parse(line)).filter(({ level }) => Number(level) >= 30)
  const ask = async (path: string) => (await app.inject(path)).statusCode
  lines()
  t.same([await ask('/livez'), await ask('/readyz'), await ask('/readyz')], [200, 200, 200])
  t.same(lines(), [])

  const { ping } = app.taskStore
  app.taskStore.ping = async () => { throw new StoreUnavailableError(new Error('the disk is gone')) }
  t.same([await ask('/readyz'), await ask('/readyz'), await ask('/livez')], [503, 503, 200])
  matchList(t, lines(), [{ level: 40, msg: /^No longer ready/, err: { stack: /the disk is gone/ } }])

  app.taskStore.ping = ping.bind(app.taskStore)
  t.same([await ask('/readyz'), await ask('/readyz')], [200, 200])
  matchList(t, lines(), [{ level: 30, msg: 'Ready again' }])

  app.announceShutdown()
  t.same([await ask('/readyz'), await ask('/readyz')], [503, 503])
  matchList(t, lines(), [{ level: 30, msg: /about to stop/ }])
  t.equal(await ask('/video-status/unknown'), 404)
  matchList(t, lines(), [{ level: 30, msg: 'request' }], 'other requests are logged as ever')
})
