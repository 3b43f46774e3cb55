import { openStates, retentionOf } from '../tasks/task.ts'

/** Conditions on the table `task` that mean the same in both databases. A table that is joined to it may have a column `state` too. */
export const openCondition = `task.state in (${openStates.map((state) => `'${state}'`).join(', ')})`

/** A task that waits to be submitted. */
export const queuedCondition = "state = 'queued'"

/** A task that has been submitted and has not ended, as an index has it. */
export const submittedCondition = "state in ('submitting', 'generating', 'storing')"

/** Its parameter, which the caller appends, is the maximum number of tasks that are read: the index of deadlines gives them. */
export const openSummary = `select state, style, count(*) as tasks, min(created_at) as oldest_created_at
  from (select state, style, created_at from task where ${openCondition} order by deadline_at limit $1) open_task group by state, style`

/**
 * Counts open tasks, and those that have ended since a time, by the minutes since the epoch in which they were created and in which they
 * ended.
 * @param since the placeholder of that time, ms since the epoch
 * @param limit the placeholder of the maximum number of tasks of each kind that are read: the open ones with the earliest deadlines, and
 * those that ended last
 */
export const activityCount = (since: string, limit: string) => `select state, created_at / 60000 as created_minute, cast(null as bigint) as ended_minute,
    count(*) as tasks, min(created_at) as oldest_created_at
  from (select state, created_at from task where ${openCondition} order by deadline_at limit ${limit}) open_task group by 1, 2
  union all select state, created_at / 60000, updated_at / 60000, count(*), min(created_at)
  from (select state, created_at, updated_at from task where ${endedCondition} and updated_at >= ${since} order by updated_at desc limit ${limit}) ended_task
  group by 1, 2, 3`

/** A task that is being submitted, or was canceled meanwhile, and whose prediction no row names. */
export const unresolvedCondition = `submission is not null and prediction_id is null and (task.state = 'submitting'
  or (task.state = 'failed' and failure = 'canceled' and not exists (select 1 from prediction_owner where task_id = task.id)))`

/** A task whose files in the archive are its own: any other file of that name was left behind. */
export const keepsFilesCondition = "state in ('storing', 'completed')"

export const endedCondition = "state in ('completed', 'failed')"

/**
 * The latest `updated_at` of tasks that have expired, without a callback address and with one.
 * @param now ms since the epoch
 */
export function expiryBounds (retentionMs: number, now: number): [number, number] {
  return [Math.floor(now - retentionOf({ callbackUrl: null }, retentionMs)), Math.floor(now - retentionOf({ callbackUrl: '' }, retentionMs))]
}
