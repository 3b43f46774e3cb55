import type { ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { CallbackReceiver } from '../../harness/callback-receiver.ts'
import { verifyWebhook } from '../../harness/webhook-secret.ts'

/**
 * Receives callbacks until the test ends, and answers them with the given statuses in turn; the last one is repeated.
 * With `silence` the callback gets no answer.
 */
export async function startReceiver (t: Test, ...answers: Array<number | 'silence' | ((response: ServerResponse) => void)>) {
  const receiver = new CallbackReceiver((_callback, response) => {
    const answer = answers[Math.min(receiver.received.length, answers.length) - 1] ?? 204
    if (typeof answer === 'function') answer(response)
    else if (answer !== 'silence') response.writeHead(answer).end()
  })
  t.teardown(() => receiver.close())
  await receiver.listen()
  return { url: receiver.address('/dreams?of=a-caller'), received: receiver.received }
}

/** The message of a callback. @throws Error if the signature does not match the secret */
export function verified (secret: string, callback: Parameters<typeof verifyWebhook>[1]) {
  // The boundary: the assertions of the tests check the members.
  return verifyWebhook(secret, callback) as { type: string, timestamp: string, data: Record<string, unknown> }
}
