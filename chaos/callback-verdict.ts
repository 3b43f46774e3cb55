import type { Callback } from './faulty-callback-receiver.ts'
import { hasEnded, keyIn, type AcceptedTask, type Ledger } from './observations.ts'
import type { Finding } from './verdict.ts'

/** Compares what came to the callback addresses with what the clients saw. Twice the same is no finding. */
export function judgeCallbacks (ledger: Ledger, callbacks: Callback[]): Finding[] {
  return [
    { what: 'not told of the end', affected: untold(ledger, callbacks).map(({ id }) => id) },
    { what: 'told of another end than the client saw', affected: named(callbacks.filter((callback) => isContrary(callback, ledger))) },
    { what: 'told at an address that is not the task’s', affected: named([...misled(ledger, callbacks), ...shared(callbacks)]) },
    { what: 'told with a signature that does not fit', affected: named(callbacks.filter(({ message }) => message === undefined)) }
  ]
}

/** Tasks that have ended, and whose address has taken no message of it yet. */
export function untold ({ tasks }: Ledger, callbacks: Callback[]): AcceptedTask[] {
  const told = new Set(callbacks.filter(({ isTaken, message }) => isTaken && message !== undefined).map(({ address, id }) => `${address} ${id}`))
  return [...tasks.values()].filter((task) => task.address !== undefined && hasEnded(task) && !told.has(`${task.address} ${task.id}`))
}

function isContrary ({ id, message }: Callback, { tasks }: Ledger): boolean {
  const seen = tasks.get(id)?.last
  if (message === undefined || seen === undefined) return false
  return JSON.stringify(message) !== JSON.stringify({ type: `video.${seen.status}`, timestamp: seen.updated_at, data: seen })
}

/** A task whose id no client has read is known by its dream. */
function misled ({ tasks, addresses }: Ledger, callbacks: Callback[]): Callback[] {
  return callbacks.filter(({ address, id, message }) => {
    const task = tasks.get(id)
    if (task !== undefined) return task.address !== address
    return message !== undefined && (message.data?.task_id !== id || keyIn(message.data.dream) !== addresses.get(address))
  })
}

/** Every address was given with one POST, so it is told of one task. */
function shared (callbacks: Callback[]): Callback[] {
  return [...Map.groupBy(callbacks, ({ address }) => address).values()].filter((alike) => new Set(alike.map(({ id }) => id)).size > 1).flat()
}

function named (callbacks: Callback[]): string[] {
  return [...new Set(callbacks.map(({ address, id, message }) => `${address}: task ${id} ${JSON.stringify(message)}`))]
}
