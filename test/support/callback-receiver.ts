import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import type { Test } from 'tap'

export interface Received { headers: IncomingHttpHeaders, body: string, url: string | undefined, at: number }

export function newSecret (): string {
  return `whsec_${randomBytes(32).toString('base64')}`
}

/** Takes callbacks and answers with the statuses given, in turn, the last one again and again; `silence` is no answer. */
export async function startReceiver (t: Test, ...answers: Array<number | 'silence' | ((response: ServerResponse) => void)>) {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    received.push({ headers: request.headers, body: await text(request), url: request.url, at: Date.now() })
    const answer = answers[Math.min(received.length, answers.length) - 1] ?? 204
    if (typeof answer === 'function') answer(response)
    else if (answer !== 'silence') response.writeHead(answer).end()
  })
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/dreams?of=a-caller`, received }
}

/** What a receiver with this secret reads; throws where the signature does not fit. */
export function verified (secret: string, { body, headers }: Received) {
  const texts = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
  return new Webhook(secret).verify(body, texts) as { type: string, timestamp: string, data: Record<string, unknown> }
}
