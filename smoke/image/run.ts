import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { freePort } from '../../harness/free-port.ts'
import { PostgresServer } from '../../harness/postgres-server.ts'
import { createPath } from '../../harness/service-client.ts'
import { until } from '../../harness/until.ts'
import { Buildah } from './buildah.ts'
import { run } from './command.ts'
import { Docker } from './docker.ts'
import type { Container, Engine, ImageConfig } from './engine.ts'

/**
 * Builds both images of the Dockerfile and runs them: the emulator, and the service with each of its stores. The exit code is
 * 0 only if each becomes ready, makes a video, does not run as root, writes nothing outside of its volume, and ends with 0 on
 * SIGTERM. It uses Docker where the machine has it, and otherwise, as root, buildah. Everything is on 127.0.0.1. The run leaves
 * nothing behind except for what makes the next one fast.
 */
interface Task { status: string, error: string | null, video_url: string | null }

const timeoutMs = 60_000
const serviceTag = 'dreamreel-smoke'
const emulatorTag = 'dreamreel-smoke-emulator'

const startedAt = performance.now()
const interrupted = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupted.abort(new Error(`Interrupted by ${name}`)))

const engine = await Docker.answers() ? new Docker() : new Buildah(await nodeVersion())
const postgres = await PostgresServer.start()
try {
  await checkImages(engine, postgres.url)
  print('passed')
} catch (error) {
  console.log(error)
  print('FAILED')
  process.exitCode = 1
} finally {
  await engine.clear()
  await postgres.stop()
}

async function checkImages (engine: Engine, databaseUrl: string): Promise<void> {
  const { version } = JSON.parse(await readFile('package.json', 'utf8'))
  const revision = (await run('git', ['rev-parse', 'HEAD'])).trim()
  print(`building with ${engine.name}`)
  await engine.build('emulator', emulatorTag, {})
  await engine.build('service', serviceTag, { VERSION: version, REVISION: revision })
  const config = await engine.inspect(serviceTag)
  checkLabels(config, version, revision)
  print('built')

  const emulatorPort = await freePort()
  const emulatorUrl = `http://127.0.0.1:${emulatorPort}`
  const emulator = await engine.start(emulatorTag, { EMULATOR_HOST: '127.0.0.1', EMULATOR_PORT: String(emulatorPort), EMULATOR_GENERATION_MS: '1000' })
  await untilTrue('the emulator to answer', emulator, () => isOk(`${emulatorUrl}/emulator/state`))
  await checkHealth(emulator, await engine.inspect(emulatorTag), 'EMULATOR_PORT')

  const env = { REPLICATE_API_TOKEN: 'test-token', REPLICATE_API_URL: `${emulatorUrl}/v1`, REPLICATE_POLL_INTERVAL_MS: '200', HOST: '127.0.0.1' }
  await checkService(engine, config, env)
  print('the service works on SQLite')
  await checkService(engine, config, { ...env, DATABASE_URL: databaseUrl })
  print('the service works on PostgreSQL')

  const { code, output } = await engine.runOnce(serviceTag, ['node', 'scripts/move-to-postgres.ts'])
  assert.equal(code, 1, output)
  assert.match(output, /DATABASE_URL must name the PostgreSQL/)
  await checkStop(emulator)
}

async function checkService (engine: Engine, config: ImageConfig, settings: Record<string, string>): Promise<void> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const service = await engine.start(serviceTag, { ...settings, PORT: String(port) })
  await untilTrue('the service to be ready', service, () => isOk(`${url}/readyz`))
  await checkHealth(service, config, 'PORT')
  for (const path of ['/', '/studio/main.js', '/docs', '/docs/static/swagger-ui-bundle.js', '/openapi.json']) assert.ok(await isOk(url + path), path)

  const { task_id: id } = await readJson<{ task_id: string }>(url + createPath('A whale', 'Cursed'), { method: 'POST' })
  const videoUrl = await untilTrue('the video', service, async () => {
    const task = await readJson<Task>(`${url}/video-status/${id}`)
    assert.notEqual(task.status, 'failed', task.error ?? undefined)
    return task.video_url ?? false
  })
  const video = Buffer.from(await (await fetch(videoUrl)).arrayBuffer())
  assert.equal(video.subarray(4, 8).toString(), 'ftyp', 'what the emulator made is an MP4')
  await checkStop(service)
}

async function checkHealth (container: Container, { Healthcheck: { Test: [kind, ...command] } }: ImageConfig, portName: string): Promise<void> {
  assert.equal(kind, 'CMD')
  const healthy = await container.execute(command)
  assert.equal(healthy.code, 0, healthy.output)
  const elsewhere = await container.execute(command, { [portName]: '9' })
  assert.equal(elsewhere.code, 1, 'the health check fails if nothing listens')
}

/** Checks the user and the written files of a container that was used, and then stops it. */
async function checkStop (container: Container): Promise<void> {
  const status = await readFile(`/proc/${await container.pid()}/status`, 'utf8')
  assert.doesNotMatch(status, /^(Uid|Gid):.*\t0\b/m, 'it does not run as root')
  assert.deepEqual(await container.writtenPaths(), [], 'it writes nothing but its volume and /tmp')
  await container.signal('SIGTERM')
  assert.equal(await container.ended(), 0, await container.log())
}

function checkLabels ({ Labels: labels }: ImageConfig, version: string, revision: string): void {
  const name = 'org.opencontainers.image'
  assert.equal(labels[`${name}.title`], 'Dreamreel')
  assert.equal(labels[`${name}.version`], version)
  assert.equal(labels[`${name}.revision`], revision)
}

/** As `until`. @throws Error with the log of the container */
async function untilTrue<T> (what: string, container: Container, poll: () => Promise<T | false>): Promise<T> {
  try {
    return await until(poll, what, { timeoutMs, intervalMs: 100, signal: interrupted.signal })
  } catch (error) {
    throw new Error(`The log of the container:\n${await container.log()}`, { cause: error })
  }
}

/** @returns the JSON of the answer; the caller knows its shape */
async function readJson<T> (url: string, init: RequestInit = {}): Promise<T> {
  const response = await fetch(url, init)
  assert.equal(response.status, 200, url)
  return await response.json() as T
}

function isOk (url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(5_000) }).then(({ ok }) => ok, () => false)
}

/** The version of Node of the only base image of the Dockerfile, which has to be pinned by its digest. */
async function nodeVersion (): Promise<string> {
  const version = /^FROM node:(\d+\.\d+\.\d+)-[\w.]+@sha256:[0-9a-f]{64} AS base$/m.exec(await readFile('Dockerfile', 'utf8'))?.[1]
  if (version === undefined) throw new Error('The Dockerfile does not start from a version of Node by its digest')
  return version
}

function print (what: string): void {
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(1)} s  ${what}`)
}
