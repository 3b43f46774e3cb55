import { setTimeout as delay } from 'node:timers/promises'
import type { TaskStore } from '../../services/store/task-store.ts'
import { styles } from '../../services/tasks/styles.ts'
import { openStates } from '../../services/tasks/task.ts'
import { toSeconds, type Metrics } from './metrics.ts'

/** A scrape reads no more than this, whatever the backlog is. */
const maxReadTasks = 10_000
/** Below the time after which Prometheus gives up a scrape, which is 10 s by default. */
const storeTimeoutMs = 2_000

/** Reads at each scrape what the store contains. While it is unavailable these metrics are missing, and the scrape succeeds. */
export function measureStore (metrics: Metrics, store: TaskStore): void {
  // First, because the query of the scrape itself also waits for a connection for a moment.
  if (store.countConnections() !== undefined) measureConnections(metrics, store)
  const isUp = metrics.gauge({ name: 'dreamreel_store_up', help: 'Whether the store of the tasks could be read for this scrape: 1 or 0' })
  const openTasks = metrics.gauge({
    name: 'dreamreel_open_tasks',
    help: `Open tasks of all instances, by their internal state. At most ${maxReadTasks} are counted in all. Missing while the store is unavailable`,
    labels: { state: openStates, style: styles }
  })
  const oldestAge = metrics.gauge({
    name: 'dreamreel_oldest_open_task_age_seconds',
    help: 'Time since the creation of the oldest open task of all instances; 0 without open tasks. Missing while the store is unavailable'
  })
  metrics.beforeScrape(async () => {
    openTasks.reset()
    oldestAge.remove()
    const open = await readInTime(store)
    isUp.set(open === undefined ? 0 : 1)
    if (open === undefined) return
    for (const state of openStates) for (const style of styles) openTasks.set({ state, style }, 0)
    for (const { state, style, tasks } of open) openTasks.set({ state, style }, tasks)
    const now = store.now()
    oldestAge.set(open.length === 0 ? 0 : toSeconds(Math.max(0, now - Math.min(...open.map(({ oldestCreatedAt }) => oldestCreatedAt)))))
  })
}

async function readInTime (store: TaskStore) {
  const over = new AbortController()
  const late = delay(storeTimeoutMs, undefined, { signal: over.signal, ref: false }).catch(() => undefined)
  const read = store.summarizeOpen(maxReadTasks).catch(() => undefined)
  return await Promise.race([read, late]).finally(() => over.abort())
}

function measureConnections (metrics: Metrics, store: TaskStore): void {
  const connections = metrics.gauge({
    name: 'dreamreel_postgres_connections', help: 'Connections of the pool to PostgreSQL, without the one that listens for changes', labels: { state: ['in_use', 'idle'] }
  })
  const max = metrics.gauge({ name: 'dreamreel_postgres_connections_max', help: 'The maximum number of connections of the pool to PostgreSQL' })
  const waiting = metrics.gauge({ name: 'dreamreel_postgres_waiting_queries', help: 'Queries that wait for a connection of the pool to PostgreSQL' })
  metrics.beforeScrape(() => {
    const counts = store.countConnections()
    if (counts === undefined) return
    connections.set({ state: 'in_use' }, counts.inUse)
    connections.set({ state: 'idle' }, counts.idle)
    max.set(counts.max)
    waiting.set(counts.waiting)
  })
}
