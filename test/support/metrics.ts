import type { FastifyInstance } from 'fastify'
import { execFile, spawnSync } from 'node:child_process'
import { scrape, type Scrape } from '../../harness/scrape.ts'
import { until } from '../../harness/until.ts'

/** For a service with METRICS_PORT. */
export function metricsUrl (app: FastifyInstance): string {
  if (app.metricsAddress === undefined) throw new Error('The service has no METRICS_PORT')
  return `http://127.0.0.1:${app.metricsAddress.port}`
}

/** Scrapes again and again until a condition holds: some values follow a moment after an answer. */
export function scrapeUntil (app: FastifyInstance, holds: (scraped: Scrape) => boolean, what: string): Promise<Scrape> {
  return until(async () => {
    const scraped = await scrape(metricsUrl(app))
    return holds(scraped) && scraped
  }, what)
}

/** The options of a test that runs promtool. `.ci/run` installs it. */
export const withPromtool = { skip: spawnSync('promtool', ['--version']).error === undefined ? false : 'promtool is not installed' }

/** Runs promtool of Debian's package prometheus. @returns what it printed. @throws Error with that if it finds a fault */
export function promtool (args: string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile('promtool', args, (error, stdout, stderr) => {
      if (error === null) resolve(stdout + stderr)
      else reject(new Error(`promtool ${args.join(' ')}: ${error.message}\n${stdout}${stderr}`))
    })
    child.stdin?.end(input)
  })
}
