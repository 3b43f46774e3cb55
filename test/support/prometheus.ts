import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../../harness/free-port.ts'
import { until } from '../../harness/until.ts'

const monitoring = new URL('../../deploy/monitoring/', import.meta.url)

/** The options of a test that runs Prometheus. `.ci/run` installs Debian's package. */
export const withPrometheus = { skip: spawnSync('prometheus', ['--version']).error === undefined ? false : 'prometheus is not installed' }

export interface RunningPrometheus {
  /** @returns the number of time series that an expression gives at the moment. @throws Error with the message of Prometheus */
  query (expression: string): Promise<number>
  /** @returns the state of each alert's rule, by its name: `ok` where it can be evaluated */
  ruleHealth (): Promise<Record<string, string>>
}

/** A real Prometheus with the files of deploy/monitoring/, which scrapes this target each second until the test ends. */
export async function startPrometheus (t: Test, target: string): Promise<RunningPrometheus> {
  const folder = t.testdir()
  const config = (await readFile(new URL('prometheus.yaml', monitoring), 'utf8'))
    .replaceAll('interval: 15s', 'interval: 1s')
    .replace(/(?: +- dreamreel-\d:9464\n)+/, `          - ${target}\n`)
  if (!config.includes(target)) throw new Error('prometheus.yaml has no targets to replace')
  await writeFile(join(folder, 'prometheus.yaml'), config)
  await copyFile(new URL('alerts.yaml', monitoring), join(folder, 'alerts.yaml'))
  const address = `127.0.0.1:${await freePort()}`
  const child = spawn('prometheus', [
    `--config.file=${join(folder, 'prometheus.yaml')}`, `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=${address}`
  ], { stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => { output += text })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`Prometheus has ended: ${output}`)
    return await fetch(`http://${address}/-/ready`).then(({ ok }) => ok, () => false)
  }, 'Prometheus to start')
  return {
    async query (expression) {
      const { status, error, data } = await read(`http://${address}/api/v1/query?query=${encodeURIComponent(expression)}`)
      if (status !== 'success') throw new Error(`${expression}: ${error}`)
      return (data as { result: unknown[] }).result.length
    },
    async ruleHealth () {
      const { data } = await read(`http://${address}/api/v1/rules`)
      const rules = (data as { groups: Array<{ rules: Array<{ name: string, health: string }> }> }).groups.flatMap((group) => group.rules)
      return Object.fromEntries(rules.map(({ name, health }) => [name, health]))
    }
  }
}

/** The boundary: the documented form of the answers of Prometheus. */
async function read (url: string) {
  return await (await fetch(url)).json() as { status: string, error?: string, data: unknown }
}
