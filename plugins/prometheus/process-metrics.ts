import packageJson from '../../package.json' with { type: 'json' }
import { toSeconds, type Metrics } from './metrics.ts'

const delayBuckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const sampleIntervalMs = 100

/** Measures the process itself. The names that begin with `process_` are those that Prometheus recommends to all programs. */
export function measureProcess (metrics: Metrics): void {
  const build = metrics.gauge({ name: 'dreamreel_build_info', help: 'Always 1. The labels are the versions of the service and of Node', labels: { version: [], node: [] } })
  build.set({ version: packageJson.version, node: process.version }, 1)
  const startTime = metrics.gauge({ name: 'process_start_time_seconds', help: 'When the process started, in seconds since 1970' })
  startTime.set(toSeconds(performance.timeOrigin))
  const cpu = metrics.counter({ name: 'process_cpu_seconds_total', help: 'CPU time that the process has used' })
  const memory = metrics.gauge({ name: 'process_resident_memory_bytes', help: 'Resident memory of the process' })
  metrics.beforeScrape(() => {
    const { user, system } = process.cpuUsage()
    cpu.reset()
    cpu.inc((user + system) / 1e6)
    memory.set(process.memoryUsage.rss())
  })
  measureEventLoop(metrics)
}

/** A histogram of samples can be added up over instances and over time, which percentiles of each instance cannot. */
function measureEventLoop (metrics: Metrics): void {
  const delays = metrics.histogram({
    name: 'dreamreel_event_loop_delay_seconds', help: `How late timers of ${sampleIntervalMs} ms are: for this time the process did not react`, buckets: delayBuckets
  })
  let setAt = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    delays.observe(toSeconds(Math.max(0, now - setAt - sampleIntervalMs)))
    setAt = now
  }, sampleIntervalMs).unref()
  metrics.onClose(() => clearInterval(timer))
}
