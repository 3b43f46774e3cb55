import t from 'tap'
import { buildBareFastify } from '../../bench/bare-fastify.ts'

t.test('the bare Fastify of the measurements answers each of its routes as the service does', async (t) => {
  const app = buildBareFastify()
  t.teardown(() => app.close())
  const created = await app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Realistic' } })
  t.equal(created.statusCode, 200, created.body)
  t.match(created.json(), { task_id: /^[0-9a-f-]{36}$/, status: 'pending' })

  const status = await app.inject(`/video-status/${created.json().task_id}`)
  t.equal(status.statusCode, 200, status.body)
  t.match(status.json(), { task_id: created.json().task_id, status: 'pending', dream: 'A whale', style: 'Realistic', error_code: null, revision: 1 })

  t.equal((await app.inject('/video-status/unknown')).statusCode, 404)
  t.equal((await app.inject({ method: 'POST', url: '/generate-video' })).statusCode, 400)
})
