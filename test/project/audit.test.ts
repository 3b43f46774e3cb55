import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { createGunzip } from 'node:zlib'
import t, { type Test } from 'tap'
import { freePort } from '../../harness/free-port.ts'
import { NodeProcess } from '../../harness/node-process.ts'

type Advisories = Record<string, Array<{ id: number, severity: string, title: string, url: string, vulnerable_versions: string }>>

/** A registry that answers npm’s question about vulnerabilities, or refuses it with this status. */
async function startRegistry (t: Test, answer: Advisories | number): Promise<{ origin: string, asked: Array<Record<string, string[]>> }> {
  const asked: Array<Record<string, string[]>> = []
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST' || !request.url?.endsWith('/advisories/bulk') || typeof answer === 'number') {
      response.writeHead(typeof answer === 'number' ? answer : 404).end()
      return
    }
    asked.push(await json(request.pipe(createGunzip())) as Record<string, string[]>)
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

async function audit (t: Test, registry: string, env: Record<string, string> = {}): Promise<{ code: number | null, output: string }> {
  const program = new NodeProcess({
    args: ['scripts/audit.ts'],
    env: { HOME: t.testdir(), npm_config_registry: registry, npm_config_fetch_retries: '0', npm_config_cache: t.testdir(), ...env }
  })
  const { code } = await program.ended
  return { code, output: program.output() }
}

function advisory (name: string, severity: string): Advisories {
  return { [name]: [{ id: 1, severity, title: 'A title', url: 'about:blank', vulnerable_versions: '*' }] }
}

t.test('production packages without known vulnerabilities pass', async (t) => {
  const { origin, asked } = await startRegistry(t, {})
  const { code, output } = await audit(t, origin)
  t.equal(code, 0)
  t.match(output, /Audited \d+ production packages: 0 critical, 0 high and 0 lesser/)
  t.ok(asked[0] && 'fastify' in asked[0] && !('eslint' in asked[0]), 'npm asks for production packages only')
})

t.test('a vulnerability of level high is a failure, and one of level moderate is not', async (t) => {
  const high = await audit(t, (await startRegistry(t, advisory('fastify', 'high'))).origin)
  t.equal(high.code, 1)
  t.match(high.output, /0 critical, 1 high/)
  t.match(high.output, 'A title')
  const moderate = await audit(t, (await startRegistry(t, advisory('fastify', 'moderate'))).origin)
  t.equal(moderate.code, 0)
  t.match(moderate.output, /0 high and 1 lesser/)
})

t.test('an audit that could not run says so, and is a failure where it is required', async (t) => {
  const refusing = (await startRegistry(t, 405)).origin
  for (const registry of [`http://127.0.0.1:${await freePort()}`, refusing]) {
    const { code, output } = await audit(t, registry)
    t.equal(code, 0)
    t.match(output, 'AUDIT DID NOT RUN')
  }
  const { code, output } = await audit(t, refusing, { AUDIT_REQUIRED: 'true' })
  t.equal(code, 1)
  t.match(output, 'AUDIT DID NOT RUN')
})
