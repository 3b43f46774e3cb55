import type { TaskView } from '../services/tasks/task-view.ts'
import type { Callback } from './faulty-callback-receiver.ts'
import { findKey, hasEnded, withoutOrigins, withoutPoster, type AcceptedTask, type Observations } from './observations.ts'
import type { Finding } from './verdict.ts'

/** Compares the received callbacks with what the clients saw. The same message twice is allowed. */
export function judgeCallbacks (observations: Observations, callbacks: Callback[]): Finding[] {
  return [
    { what: 'callback missing', affected: undelivered(observations, callbacks).map(({ id }) => id) },
    { what: 'callback with another end than the client saw', affected: describe(callbacks.filter((callback) => isContrary(callback, observations))) },
    { what: 'callback at the address of another task', affected: describe([...misdirected(observations, callbacks), ...shared(callbacks)]) },
    { what: 'callback with a wrong signature', affected: describe(callbacks.filter(({ message }) => message === undefined)) }
  ]
}

/** Tasks that have ended and whose address has not accepted a message about it yet. */
export function undelivered ({ tasks }: Observations, callbacks: Callback[]): AcceptedTask[] {
  const delivered = new Set(callbacks.filter(({ isAccepted, message }) => isAccepted && message !== undefined).map(({ address, id }) => `${address} ${id}`))
  return [...tasks.values()].filter((task) => task.address !== undefined && hasEnded(task) && !delivered.has(`${task.address} ${task.id}`))
}

function isContrary ({ id, message }: Callback, { tasks }: Observations): boolean {
  const seen = tasks.get(id)?.last
  if (message === undefined || seen === undefined) return false
  const { type, timestamp, data } = message
  // The boundary: what the service sends is under test, and compared as text.
  const sent = withoutOrigins(data as TaskView)
  const isEqual = sent.poster_url === seen.poster_url
    ? JSON.stringify(sent) === JSON.stringify(seen)
    : JSON.stringify(withoutPoster(sent)) === JSON.stringify(withoutPoster(seen))
  return !isEqual || type !== `video.${seen.status}` || timestamp !== sent.updated_at
}

/** A task whose id no client has received is known by its dream. */
function misdirected ({ tasks, addresses }: Observations, callbacks: Callback[]): Callback[] {
  return callbacks.filter(({ address, id, message }) => {
    const task = tasks.get(id)
    if (task !== undefined) return task.address !== address
    return message !== undefined && (message.data?.task_id !== id || findKey(message.data.dream) !== addresses.get(address))
  })
}

/** Each address belongs to one create, and so to one task at most. */
function shared (callbacks: Callback[]): Callback[] {
  return [...Map.groupBy(callbacks, ({ address }) => address).values()].filter((alike) => new Set(alike.map(({ id }) => id)).size > 1).flat()
}

function describe (callbacks: Callback[]): string[] {
  return [...new Set(callbacks.map(({ address, id, message }) => `${address}: task ${id} ${JSON.stringify(message)}`))]
}
