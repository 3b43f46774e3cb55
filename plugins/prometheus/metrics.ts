import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Log } from '../../services/runtime/log.ts'
import { SingleFlight } from '../../services/runtime/single-flight.ts'
import { ChannelReaders } from '../../services/telemetry/channel-readers.ts'
import type { Channel } from '../../services/telemetry/channels.ts'

/** Every combination of label values that a metric starts with. Counters begin at 0, so that their first increase can be seen. */
type LabelValues = Record<string, readonly string[]>

interface MetricOptions {
  /** with the prefix `dreamreel_`, or `process_` for the names that Prometheus recommends to all programs, and the unit at the end */
  name: string
  help: string
  /** the labels, with the values that are known in advance; none for a label whose values come with time */
  labels?: LabelValues
}

/** The metrics of one instance, and their connections to the channels of the services. */
export class Metrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE
  readonly #registry = new Registry()
  readonly #log
  readonly #collectors: Array<() => void | Promise<void>> = []
  readonly #closers: Array<() => void> = []
  readonly #readers = new ChannelReaders((error) => this.#recordFailure(error))
  readonly #scrapes = new SingleFlight<string>()
  #hasFailed = false

  constructor (log: Log) {
    this.#log = log
  }

  counter (options: MetricOptions): Counter {
    const counter = new Counter(this.#configure(options))
    for (const labels of combinations(options.labels)) counter.inc(labels, 0)
    return counter
  }

  gauge (options: MetricOptions): Gauge {
    return new Gauge(this.#configure(options))
  }

  /** @param options `buckets` are upper bounds, in the unit of the metric */
  histogram ({ buckets, ...options }: MetricOptions & { buckets: number[] }): Histogram {
    const histogram = new Histogram({ ...this.#configure(options), buckets })
    for (const labels of combinations(options.labels)) histogram.zero(labels)
    return histogram
  }

  /** Calls `listener` with each message until the instance closes. Its errors are logged, because they must not end the process. */
  on<Message> (channel: Channel<Message>, listener: (message: Message) => void): void {
    this.#readers.on(channel, listener)
  }

  /** Calls `collector` before each scrape, to set gauges. What it throws fails no scrape. */
  beforeScrape (collector: () => void | Promise<void>): void {
    this.#collectors.push(collector)
  }

  onClose (closer: () => void): void {
    this.#closers.push(closer)
  }

  /** The metrics in Prometheus' text format. Scrapes at the same time share one answer. */
  scrape (): Promise<string> {
    return this.#scrapes.run('scrape', async () => {
      await Promise.all(this.#collectors.map(async (collect) => {
        try {
          await collect()
        } catch (error) {
          this.#recordFailure(error)
        }
      }))
      return await this.#registry.metrics()
    })
  }

  close (): void {
    this.#readers.close()
    for (const close of this.#closers) close()
  }

  #configure ({ name, help, labels = {} }: MetricOptions) {
    return { name, help, labelNames: Object.keys(labels), registers: [this.#registry] }
  }

  #recordFailure (err: unknown): void {
    this.#log[this.#hasFailed ? 'debug' : 'error']({ err }, 'A metric could not be measured; the service goes on without it')
    this.#hasFailed = true
  }
}

/** @returns every combination of the labels' values; none if a label has no values yet */
function combinations (labels: LabelValues = {}): Array<Record<string, string>> {
  return Object.entries(labels).reduce<Array<Record<string, string>>>(
    (found, [name, values]) => found.flatMap((combination) => values.map((value) => ({ ...combination, [name]: value }))),
    [{}]
  )
}

export function toSeconds (ms: number): number {
  return ms / 1_000
}
