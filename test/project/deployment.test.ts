import { execFile, spawnSync } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { ConfigSchema, readConfig } from '../../config.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { replacePassedSettings } from '../../scripts/config-documents.ts'
import { matchList } from '../support/match-list.ts'

const root = new URL('../../', import.meta.url)
const kubernetes = new URL('deploy/kubernetes/', root)
const settings = Object.keys(ConfigSchema.properties)
const read = (name: string, from = root) => readFile(new URL(name, from), 'utf8')

interface Service { environment: Record<string, string | number | null>, user?: string, cap_drop?: string[], cap_add?: string[], security_opt?: string[], profiles?: string[] }
const compose = parse(await read('compose.yaml'), { merge: true }) as { services: Record<string, Service> }
const instances = Object.entries(compose.services).filter(([name]) => name.startsWith('dreamreel-'))

/** Parses `NAME=value` lines as Compose, kustomize and Node do. */
function lines (text: string): Array<[string, string]> {
  return text.split('\n').filter((line) => /^\w+=/.test(line)).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
}

t.test('compose.yaml passes every setting to the container', async (t) => {
  const text = await read('compose.yaml')
  t.equal(text, replacePassedSettings(text), 'run `npm run docs`')
  t.equal(instances.length, 3)
  for (const [name, { environment }] of instances) {
    for (const setting of settings) {
      if (setting === 'DATA_DIR') continue
      t.ok(setting in environment, `${setting} of ${name}`)
      const value = String(environment[setting] ?? '')
      if (['HOST', 'PORT', 'METRICS_PORT', 'DATABASE_URL'].includes(setting)) t.notMatch(value, `{${setting}`, `${setting} is what nginx and the healthcheck count on`)
      else if (setting === 'TRUST_PROXY') t.equal(value, '${TRUST_PROXY:-1}', 'nginx is the only way to the instances') // eslint-disable-line no-template-curly-in-string
      else t.ok(value === '' || value.startsWith(`\${${setting}:`), `${setting} of ${name} is what it is outside`)
    }
    t.same(Object.keys(environment).filter((setting) => !settings.includes(setting)), [], 'and nothing else')
  }
})

t.test('compose.yaml with deploy/emulator.env is a valid configuration', async (t) => {
  const given = Object.fromEntries(lines(await read('deploy/emulator.env')))
  const { environment = {} } = instances[0]?.[1] ?? {}
  const seen = Object.fromEntries(settings.map((name) => [name, interpolate(environment[name] ?? given[name], given)]))
  const config = readConfig(seen)
  t.match(config, { HOST: '0.0.0.0', ALLOW_ANONYMOUS: true, PORT: 3000, SHUTDOWN_DELAY_SECONDS: 5, TRUST_PROXY: '1', REPLICATE_API_URL: 'http://emulator.localhost:3001/v1' })
  t.ok(compose.services.emulator?.profiles?.includes(given.COMPOSE_PROFILES ?? ''))
  for (const name of Object.keys(given)) t.match(name, /^COMPOSE_|^POSTGRES_PASSWORD$|^REPLICATE_API_(URL|TOKEN)$|^ALLOW_ANONYMOUS$/)
})

/** Substitutes `${NAME:-default}` and `${NAME:?message}` as Compose does. */
function interpolate (value: string | number | undefined, given: Record<string, string>): string | undefined {
  return value === undefined ? undefined : String(value).replace(/\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}/g, (_all, name, fallback = '') => given[name] || fallback)
}

t.test('no container keeps a privilege that it does not need', async (t) => {
  for (const [name, { cap_drop: dropped, security_opt: options, cap_add: added = [], user }] of Object.entries(compose.services)) {
    t.same(dropped, ['ALL'], name)
    t.same(options, ['no-new-privileges:true'], name)
    t.ok(added.length === 0 || name === 'nginx', `${name} gets none back`)
    if (name === 'postgres') t.equal(user, 'postgres', 'who needs no capability')
  }
})

t.test('the Kubernetes files are consistent, and accept every setting', async (t) => {
  const files = (await readdir(kubernetes)).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
  const kustomization = await read('kustomization.yaml', kubernetes)
  for (const name of files) t.match(kustomization, new RegExp(`^  (# )?- ${name}$`, 'm'), `${name} is listed`)
  const objects = await Promise.all(files.map(async (name) => {
    const documents = parseAllDocuments(await read(name, kubernetes))
    t.equal(documents.length, 1, name)
    return documents[0]?.toJS()
  }))
  const find = (kind: string) => objects.find((object) => object.kind === kind)
  const { template, selector } = find('Deployment').spec
  const [container] = template.spec.containers
  const app = { 'app.kubernetes.io/name': 'dreamreel' }
  t.same([selector.matchLabels, template.metadata.labels, find('Service').spec.selector, find('NetworkPolicy').spec.podSelector.matchLabels, find('PodDisruptionBudget').spec.selector.matchLabels],
    [app, app, app, app, app])
  t.match(find('HorizontalPodAutoscaler').spec.scaleTargetRef, { kind: 'Deployment', name: find('Deployment').metadata.name })
  matchList(t, find('HTTPRoute').spec.rules[0].backendRefs, [{ name: find('Service').metadata.name, port: find('Service').spec.ports[0].port }])
  t.equal(find('NetworkPolicy').spec.ingress[0].ports[0].port, container.ports[0].name)
  t.equal(find('Service').spec.ports[0].targetPort, container.ports[0].name)

  const [generated] = parse(kustomization).configMapGenerator
  matchList(t, container.envFrom, [{ configMapRef: { name: generated.name } }, { secretRef: { name: 'dreamreel' } }])
  const fixed = Object.fromEntries(container.env.map(({ name, value }: { name: string, value?: string }) => [name, value]))
  t.same(fixed, { REPLICATE_API_TOKEN: undefined, DATABASE_URL: undefined, HOST: '0.0.0.0', PORT: String(container.ports[0].containerPort), METRICS_PORT: String(container.ports[1].containerPort) })
  const given = Object.fromEntries((await Promise.all(generated.envs.map((name: string) => read(name, kubernetes)))).flatMap(lines))
  t.same(Object.keys(given).filter((name) => !settings.includes(name)), [])
  const config = readConfig({ REPLICATE_API_TOKEN: 'x', ...given })
  t.ok(config.SHUTDOWN_DELAY_SECONDS + 30 < template.spec.terminationGracePeriodSeconds)
})

/** The values of each name in a unit of systemd, in the order of the lines. */
function unitValues (unit: string): Map<string, string[]> {
  const values = new Map<string, string[]>()
  for (const [name, value] of lines(unit)) values.set(name, [...values.get(name) ?? [], value])
  return values
}

t.test('the unit of systemd starts the service as npm does, and gives it time to stop', async (t) => {
  const unit = unitValues(await read('deploy/systemd/dreamreel.service'))
  t.same(unit.get('ExecStart'), [`/usr/bin/${packageJson.scripts.start.replace(' --env-file-if-exists=.env', '')}`])
  const given = Object.fromEntries((unit.get('Environment') ?? []).flatMap(lines))
  t.same(given, { DATA_DIR: `/var/lib/${unit.get('StateDirectory')}`, NODE_COMPILE_CACHE: `/var/cache/${unit.get('CacheDirectory')}` })
  t.ok(settings.includes('DATA_DIR'))
  t.ok(readConfig({ REPLICATE_API_TOKEN: 'x' }).SHUTDOWN_DELAY_SECONDS + 30 < Number(unit.get('TimeoutStopSec')))
  const document = await read('docs/deployment.md')
  for (const path of [unit.get('EnvironmentFile')?.[0], unit.get('WorkingDirectory')?.[0], '/etc/systemd/system/']) t.match(document, path)
  t.match(document, `useradd --system --home-dir /var/lib/dreamreel --shell /usr/sbin/nologin ${unit.get('User')}`)
})

t.test('systemd accepts the unit and finds it well protected', { skip: spawnSync('systemd-analyze', ['--version']).error === undefined ? false : 'systemd is not installed' }, async (t) => {
  const path = join(t.testdir(), 'dreamreel.service')
  await writeFile(path, (await read('deploy/systemd/dreamreel.service')).replace('/usr/bin/node', process.execPath))
  const { stderr } = await promisify(execFile)('systemd-analyze', ['verify', path])
  t.equal(stderr, '')
  // Ten times the exposure that it may have, from 0 to 10.
  await t.resolves(promisify(execFile)('systemd-analyze', ['security', '--offline=true', '--threshold=20', path]))
})
