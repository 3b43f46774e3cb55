/** @import { Task } from '../types.js' */

import { serviceNow } from './api.js'

/** Dreams for those who have none at hand. Each fits into one line of the field, so that nothing moves when another one is shown. */
export const exampleDreams = [
  'A whale swims through the clouds above my school',
  'A lift goes down to a library on the sea floor',
  'My grandmother’s piano is full of bees',
  'A night train crosses a lake and leaves no wave',
  'Snow falls upwards in the market of my childhood',
  'I am late for an exam in a house without doors',
  'A fox in a raincoat sells me back my lost keys'
]

/** @param {Task} task */
export const isOpen = ({ status }) => status === 'pending' || status === 'processing'

/** @param {Task} task */
export const isCanceled = (task) => task.error_code === 'canceled'

/** The state of a film as the page shows it: that of the task, but a canceled one is not a failed one. @param {Task} task */
export const stateOf = (task) => isCanceled(task) ? 'canceled' : task.status

/** Whether another description could succeed where this one was refused. @param {Task} task */
export const mustChange = (task) => task.error_code === 'content_policy' || task.error_code === 'invalid_input'

/**
 * How far a task is.
 * @param {Task} task
 * @param {{ usualSeconds: number | undefined, now?: number }} options usualSeconds: that such a film takes, if that is known
 * @returns {{ share: number | null, isEstimate: boolean, text: string }} share: from 0 to 1; null if nothing is known of it
 */
export function progressOf (task, { usualSeconds, now = serviceNow() }) {
  const elapsed = Math.max(0, (now - Date.parse(task.created_at)) / 1000)
  if (task.status === 'pending') return { share: 0, isEstimate: false, text: elapsed < 10 ? 'In line' : `In line for ${duration(elapsed)}` }
  if (task.progress !== null) return { share: task.progress / 100, isEstimate: false, text: `In the making, ${task.progress} %` }
  if (usualSeconds === undefined) return { share: null, isEstimate: true, text: `In the making, ${duration(elapsed)} so far` }
  const left = usualSeconds - elapsed
  // An estimate never says that the film is finished.
  const share = Math.min(elapsed / usualSeconds, 0.96)
  return { share, isEstimate: true, text: left > 1 ? `In the making, about ${duration(left)} left` : `In the making, longer than the usual ${duration(usualSeconds)}` }
}

/** What the line below a film says. @param {Task} task */
export function stateWords (task) {
  return { pending: 'In line', processing: 'In the making', completed: 'Film', failed: 'Failed', canceled: 'Cancelled' }[stateOf(task)]
}

/** A duration in rounded words. @param {number} seconds */
export function duration (seconds) {
  if (seconds < 10) return `${Math.max(1, Math.round(seconds))} s`
  if (seconds < 90) return `${Math.round(seconds / 5) * 5} s`
  return seconds < 5_400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`
}

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' })
const dayOfYear = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })

/** A time as short as it can be: the clock today, else the day. @param {string} time RFC 3339 */
export function shortTime (time) {
  const [date, today] = [new Date(time), new Date()]
  if (date.toDateString() === today.toDateString()) return clock.format(date)
  return (date.getFullYear() === today.getFullYear() ? day : dayOfYear).format(date)
}
