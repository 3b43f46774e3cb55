/** One line of a scrape: a time series and its value. */
export interface Sample { name: string, labels: Record<string, string>, value: number }

/** What a scrape says of a metric. `labels` are those of its samples, without `le`. */
export interface ScrapedMetric { name: string, type: string, help: string, labels: string[], samples: Sample[] }

/** The metrics of an instance at one moment, in Prometheus' text format. */
export class Scrape {
  readonly text: string
  readonly metrics: ScrapedMetric[] = []

  constructor (text: string) {
    this.text = text
    let metric: ScrapedMetric | undefined
    for (const line of text.split('\n').filter((line) => line !== '')) {
      const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
      if (kind === 'HELP') this.metrics.push(metric = { name, help: rest, type: '', labels: [], samples: [] })
      else if (metric === undefined) throw new Error(`A line before the first metric: ${line}`)
      else if (kind === 'TYPE') metric.type = rest
      else addSample(metric, parseSample(line))
    }
  }

  /** The sum of the samples with this name that have at least these labels. @throws Error where there is none */
  value (name: string, labels: Record<string, string> = {}): number {
    const found = this.samples(name, labels)
    if (found.length === 0) throw new Error(`${name} ${JSON.stringify(labels)} is not in the scrape`)
    return found.reduce((sum, { value }) => sum + value, 0)
  }

  samples (name: string, labels: Record<string, string> = {}): Sample[] {
    const isWanted = (sample: Sample) => sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value)
    return this.metrics.flatMap(({ samples }) => samples).filter(isWanted)
  }
}

/** @param url of the server of the metrics. @throws Error for any answer but 200 */
export async function scrape (url: string): Promise<Scrape> {
  const response = await fetch(`${url}/metrics`)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`A scrape was answered with ${response.status}: ${text}`)
  return new Scrape(text)
}

function addSample (metric: ScrapedMetric, sample: Sample): void {
  metric.samples.push(sample)
  const labels = Object.keys(sample.labels).filter((label) => label !== 'le')
  metric.labels = Array.from(new Set([...metric.labels, ...labels]))
}

function parseSample (line: string): Sample {
  const [, name = '', labels = '', value = ''] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
  const pairs = Array.from(labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g), ([, label = '', text = '']) => [label, text])
  return { name, labels: Object.fromEntries(pairs), value: Number(value) }
}
