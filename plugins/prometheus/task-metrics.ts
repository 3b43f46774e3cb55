import { styles } from '../../services/tasks/styles.ts'
import { taskFailureCodes } from '../../services/tasks/task-failure.ts'
import { isOpen, openStates, transitionTypes } from '../../services/tasks/task.ts'
import { predictionEnded, taskCreated, taskTransitioned } from '../../services/telemetry/channels.ts'
import { StateTimer } from '../../services/telemetry/state-timer.ts'
import { toSeconds, type Metrics } from './metrics.ts'

const stateBuckets = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900, 1_800]
const predictBuckets = [1, 2.5, 5, 10, 20, 30, 60, 120, 240, 480, 900]

/**
 * Counts what happens to tasks on this instance.
 * @param now the store's clock, ms since the epoch
 */
export function measureTasks (metrics: Metrics, now: () => number): void {
  const created = metrics.counter({ name: 'dreamreel_tasks_created_total', help: 'Tasks that this instance has accepted', labels: { style: styles } })
  const ended = metrics.counter({
    name: 'dreamreel_tasks_ended_total',
    help: 'Tasks that this instance has ended. Result: completed, or the error_code',
    labels: { style: styles, result: ['completed', ...taskFailureCodes] }
  })
  const durations = metrics.histogram({
    name: 'dreamreel_task_duration_seconds',
    help: 'Time from the creation of a task to its end, by its status at the end',
    labels: { status: ['completed', 'failed'] },
    buckets: stateBuckets
  })
  const applied = metrics.counter({
    name: 'dreamreel_task_transitions_total', help: 'Changes of tasks that this instance has committed', labels: { transition: transitionTypes }
  })
  const stateTimes = metrics.histogram({
    name: 'dreamreel_task_state_duration_seconds',
    help: 'Time that a task has spent in a state when it left it. Not counted if another instance, or an earlier start of this one, has seen the task enter generating or storing',
    labels: { state: openStates },
    buckets: stateBuckets
  })
  const predictTimes = metrics.histogram({
    name: 'dreamreel_predict_duration_seconds',
    help: 'Time for which Replicate ran the model, as its answer says: what it charges for many models',
    labels: { style: styles },
    buckets: predictBuckets
  })
  const timer = new StateTimer(now)

  metrics.on(taskCreated, ({ task: { style } }) => created.inc({ style }))
  metrics.on(taskTransitioned, ({ transition, from, to }) => {
    applied.inc({ transition })
    if (from.state === to.state) return
    const { enteredAt, leftAt } = timer.recordChange(from, to)
    if (enteredAt !== undefined) stateTimes.observe({ state: from.state }, toSeconds(Math.max(0, leftAt - enteredAt)))
    if (isOpen(to)) return
    ended.inc({ style: to.style, result: to.failure ?? 'completed' })
    durations.observe({ status: to.state }, toSeconds(Math.max(0, to.updatedAt - to.createdAt)))
  })
  metrics.on(predictionEnded, ({ task: { style }, predictSeconds }) => {
    if (predictSeconds !== null) predictTimes.observe({ style }, predictSeconds)
  })
}
