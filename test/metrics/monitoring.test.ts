import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { scrape, type Scrape } from '../../harness/scrape.ts'
import { until } from '../../harness/until.ts'
import { metricsUrl, promtool, withPromtool } from '../support/metrics.ts'
import { createDatabase } from '../support/postgres.ts'
import { startPrometheus, withPrometheus } from '../support/prometheus.ts'
import { ended, postDream, startService } from '../support/service.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFile(new URL(path, root), 'utf8')
const pathOf = (path: string) => fileURLToPath(new URL(path, root))

interface Rule { alert: string, expr: string, labels: { severity: string }, annotations: { summary: string, description: string } }
interface RuleTest { alert_rule_test: Array<{ alertname: string, exp_alerts: unknown[] }> }
interface Panel { title: string, type: string, targets?: Array<{ expr: string }> }

const rules = (parse(await read('deploy/monitoring/alerts.yaml')) as { groups: Array<{ rules: Rule[] }> }).groups.flatMap((group) => group.rules)
const dashboard = JSON.parse(await read('deploy/monitoring/dashboard.json')) as { panels: Panel[] }
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
const prometheusConfig = parse(await read('deploy/monitoring/prometheus.yaml'))

/** The metrics that an expression names. */
function metricsIn (expression: string): string[] {
  return expression.match(/\b(?:dreamreel|process)_\w+/g) ?? []
}

function exists (scraped: Scrape, name: string): boolean {
  return scraped.metrics.some((metric) => metric.name === name || metric.samples.some((sample) => sample.name === name))
}

t.test('promtool accepts the alerts and the configuration, and the unit tests of the alerts pass', withPromtool, async (t) => {
  t.match(await promtool(['check', 'config', pathOf('deploy/monitoring/prometheus.yaml')]), `${rules.length} rules found`)
  t.match(await promtool(['test', 'rules', pathOf('deploy/monitoring/alerts.test.yaml')]), 'SUCCESS')
})

t.test('each alert has a unit test in which it fires and one in which it does not', async (t) => {
  const { tests } = parse(await read('deploy/monitoring/alerts.test.yaml')) as { tests: RuleTest[] }
  const cases = tests.flatMap(({ alert_rule_test: all }) => all)
  const fires = (isFiring: boolean) => cases.filter(({ exp_alerts: alerts }) => (alerts.length > 0) === isFiring).map(({ alertname }) => alertname).sort()
  const names = rules.map(({ alert }) => alert).sort()
  t.same(fires(true), names)
  t.same(fires(false), names)
  for (const { alert, labels: { severity } } of rules) t.ok(['page', 'ticket'].includes(severity), alert)
})

t.test('every metric of the alerts and of the dashboard is in a scrape, and every metric is on the dashboard', async (t) => {
  const { app } = await startService(t, { env: { METRICS_PORT: '0', DATABASE_URL: await createDatabase(t) } })
  await postDream(app)
  const scraped = await scrape(metricsUrl(app))
  for (const { alert, expr } of rules) for (const name of metricsIn(expr)) t.ok(exists(scraped, name), `${name} of ${alert}`)
  const shown = new Set(expressions.flatMap(metricsIn))
  for (const name of shown) t.ok(exists(scraped, name), `${name} of the dashboard`)
  const withoutSuffix = new Set(Array.from(shown, (name) => name.replace(/_(bucket|sum|count)$/, '')))
  for (const { name } of scraped.metrics) t.ok(withoutSuffix.has(name), `${name} is on the dashboard`)
})

t.test('docs/metrics.md has every metric, with its type, its labels and its meaning', async (t) => {
  const { app } = await startService(t, { env: { METRICS_PORT: '0', DATABASE_URL: await createDatabase(t) } })
  await postDream(app)
  const { metrics } = await scrape(metricsUrl(app))
  const rows = metrics.map(({ name, type, labels, help }) => `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ') || '–'} | ${help} |`)
  const [, table = ''] = (await read('docs/metrics.md')).split('| metric | type | labels | meaning |\n|---|---|---|---|\n')
  t.same(table.slice(0, table.indexOf('\n\n')).split('\n'), rows)
})

t.test('a real Prometheus scrapes the service, evaluates each alert, and has data for each panel', withPrometheus, async (t) => {
  const { app } = await startService(t, { env: { METRICS_PORT: '0', DATABASE_URL: await createDatabase(t) } })
  const prometheus = await startPrometheus(t, new URL(metricsUrl(app)).host)
  await until(async () => await prometheus.query('up{job="dreamreel"} == 1') === 1, 'the first scrape')
  await ended(app, await postDream(app))
  for (const expression of expressions) {
    const filled = expression.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*')
    // Each call that has no increase yet has one with the next dream.
    t.ok(await until(async () => {
      if (await prometheus.query(filled) > 0) return true
      await ended(app, await postDream(app))
      return false
    }, `data for ${filled}`, { intervalMs: 500 }), filled)
  }
  const health = await until(async () => {
    const states = await prometheus.ruleHealth()
    return !Object.values(states).includes('unknown') && states
  }, 'the rules to be evaluated')
  t.same(health, Object.fromEntries(rules.map(({ alert }) => [alert, 'ok'])))
})

t.test('Prometheus of compose.yaml scrapes each instance, and nothing publishes the port of the metrics', async (t) => {
  const { services } = parse(await read('compose.yaml'), { merge: true }) as { services: Record<string, { environment?: Record<string, unknown>, ports?: string[], volumes?: string[] }> }
  const instances = Object.entries(services).filter(([name]) => name.startsWith('dreamreel-'))
  const targets = instances.map(([name, { environment = {} }]) => `${name}:${environment.METRICS_PORT}`)
  t.same(prometheusConfig.scrape_configs[0].static_configs[0].targets, targets)
  t.equal(prometheusConfig.scrape_configs[0].job_name, 'dreamreel', 'as the alerts expect')
  for (const [name, { ports = [] }] of Object.entries(services)) t.notMatch(ports.join(), '9464', name)
  t.notMatch(await read('deploy/nginx.conf'), '9464')
  t.same(services.prometheus?.ports, ['127.0.0.1:9090:9090'], 'its page is for this machine only')
  for (const volume of services.prometheus?.volumes ?? []) {
    const [source = ''] = volume.split(':')
    if (source.startsWith('./')) t.ok(await read(source.slice(2)), source)
  }
})

t.test('in Kubernetes the pods say where their metrics are, and no Service leads there', async (t) => {
  const file = async (name: string) => parse(await read(`deploy/kubernetes/${name}.yaml`))
  const { metadata, spec: { containers: [container] } } = (await file('deployment')).spec.template
  const port = container.ports.find(({ name }: { name: string }) => name === 'metrics').containerPort
  t.same(metadata.annotations, { 'prometheus.io/scrape': 'true', 'prometheus.io/port': String(port), 'prometheus.io/path': '/metrics' })
  t.equal(container.env.find(({ name }: { name: string }) => name === 'METRICS_PORT').value, String(port))
  t.same((await file('service')).spec.ports.map(({ targetPort }: { targetPort: string }) => targetPort), ['http'])
  const { ingress } = (await file('network-policy')).spec
  const allowed = ingress.filter(({ ports }: { ports: Array<{ port: string }> }) => ports.some(({ port }) => port === 'metrics'))
  t.equal(allowed.length, 1)
  t.same(allowed[0].from, [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }])
})
