import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type, type Static } from '@sinclair/typebox'
import { problemResponses } from '../errors.ts'
import { RecentActivity, type TaskActivity } from '../services/live-status/task-activity.ts'
import { breakerStates, type BreakerState } from '../services/runtime/circuit-breaker.ts'
import type { TaskFailureCode } from '../services/tasks/task-failure.ts'
import { ignoreBodies } from './ignore-bodies.ts'
import { requireAdmin } from './require-caller.ts'

const providerStates = ['available', 'limited', 'unavailable'] as const

const count = (description: string) => Type.Integer({ format: 'int32', minimum: 0, description })

export const ServiceStatusSchema = Type.Object({
  open: count('Tasks that have not ended: those with the status `pending` or `processing`'),
  in_flight: count('Of these, the tasks with the status `processing`: Replicate makes their videos, or the service stores them. All others wait'),
  completed_last_hour: count('Tasks that have completed in the minutes of `history`'),
  failed_last_hour: count('Tasks that have failed in the minutes of `history`; canceled ones are among them'),
  oldest_waiting_seconds: Type.Unsafe<number | null>({
    type: ['integer', 'null'], format: 'int32', minimum: 0, description: 'Seconds since the creation of the oldest task with the status `pending`; null if there is none'
  }),
  provider: Type.Object({
    state: Type.Unsafe<typeof providerStates[number]>({
      type: 'string', enum: providerStates, description: '`available`: Replicate takes tasks. `limited`: it has asked this instance to pause. `unavailable`: it cannot be reached, or refuses the account'
    }),
    breaker: Type.Unsafe<BreakerState>({
      type: 'string', enum: breakerStates, description: 'The circuit breaker for new predictions. `closed`: tasks are submitted. `open`: none is. `half_open`: one is, as a probe'
    }),
    reason: Type.Unsafe<TaskFailureCode | null>({
      anyOf: [Type.Ref('ErrorCode'), Type.Null()], description: 'Why tasks wait; null if the state is `available`. It is the `error_code` of those that wait until their deadline'
    })
  }, { description: 'What the instance that answers last learned from Replicate. Others may know something else for a while' }),
  history: Type.Array(Type.Object({
    time: Type.String({ format: 'date-time', description: 'The start of the minute, RFC 3339 in UTC' }),
    open: count('Tasks that were open at the end of the minute; in the last entry, those that are open now'),
    completed: count('Tasks that have completed in it'),
    failed: count('Tasks that have failed in it')
  }), { maxItems: 60, description: 'The last 60 minutes, always all of them, the oldest first. The last one is the present minute, which is not over' })
}, {
  $id: 'ServiceStatus',
  description: 'What the service does at the moment, and did in the last hour',
  examples: [{
    open: 12,
    in_flight: 5,
    completed_last_hour: 31,
    failed_last_hour: 0,
    oldest_waiting_seconds: 42,
    provider: { state: 'available', breaker: 'closed', reason: null },
    // The first two of sixty.
    history: [
      { time: '2026-11-24T08:15:00.000Z', open: 9, completed: 1, failed: 0 },
      { time: '2026-11-24T08:16:00.000Z', open: 12, completed: 0, failed: 0 }
    ]
  }]
})
type ServiceStatus = Static<typeof ServiceStatusSchema>

/** Says how the service is doing. */
const serviceStatusRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, submissionGate } = app
  const activity = new RecentActivity(taskStore)
  ignoreBodies(app)
  requireAdmin(app)

  app.get('/status', {
    schema: {
      operationId: 'getServiceStatus',
      summary: 'Get the status of the service',
      description: 'Counts the tasks of all API keys and all instances. The numbers are up to two seconds old. The end of a task is its last change: a poster that was made later moves it. Tasks that were deleted are not counted any more, so with a short retention the numbers of the past are too small. At most 50,000 open tasks and 50,000 ended ones are counted. It needs an `admin` key. Only callers on the machine itself may do this while the service has no API keys.',
      tags: ['Operations'],
      response: {
        200: { description: 'The status of the service', content: { 'application/json': { schema: Type.Ref(ServiceStatusSchema) } } },
        ...problemResponses('keys_required', 'admin_required', 'store_unavailable')
      }
    }
  }, async (_request, reply) => {
    const present = presentActivity(await activity.read(), taskStore.now())
    reply.header('cache-control', 'no-store')
    return { ...present, provider: describeProvider() }
  })

  function describeProvider (): ServiceStatus['provider'] {
    const { breakerState: breaker, blockReason: reason = null } = submissionGate
    return { state: breaker !== 'closed' ? 'unavailable' : reason === null ? 'available' : 'limited', breaker, reason }
  }
}

function presentActivity ({ open, inFlight, oldestWaitingSince, history }: TaskActivity, now: number): Omit<ServiceStatus, 'provider'> {
  return {
    open,
    in_flight: inFlight,
    completed_last_hour: history.reduce((total, { completed }) => total + completed, 0),
    failed_last_hour: history.reduce((total, { failed }) => total + failed, 0),
    oldest_waiting_seconds: oldestWaitingSince === null ? null : Math.max(0, Math.floor((now - oldestWaitingSince) / 1_000)),
    history: history.map(({ startsAt, ...counts }) => ({ time: new Date(startsAt).toISOString(), ...counts }))
  }
}

export default serviceStatusRoutes
