import fc from 'fast-check'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AnswerCheck } from './answer-check.ts'
import { callerPlans, checkCaller } from './callers.ts'
import { mutate, mutations } from './mutations.ts'
import { listOperations, type Operation } from './openapi-operations.ts'
import { propertyNames, readPlan, type Plan, type PropertyName } from './plan.ts'
import { requestPlans, type RequestPlan } from './requests.ts'
import { startTarget, type Target } from './target.ts'
import { predictionPlaceholder, webhookBodies } from './webhook-bodies.ts'
import { exchange, show, type Answer } from './wire.ts'

/**
 * Sends the service requests that it should not get: hostile values for each operation of its OpenAPI document (`operations`), and
 * requests whose bytes were changed (`bytes`), signed webhooks with hostile content (`webhooks`), and requests to a service with API keys from
 * callers without a valid one or with that of another (`keys`), over sockets. It fails on a 5xx, on an answer that does not come, that is not
 * HTTP or that the document does not describe, on a changed prototype, on a log line that is not one line of JSON or contains what was sent,
 * and on an answer that its caller should not get.
 *
 * The exit code is 0 only if nothing failed. A failure is made smaller, and printed with the arguments that repeat it.
 */
const plan = readArguments()
const target = await startTarget()
/** A service with API keys. */
const keyed = await startTarget({ hasKeys: true })
const check = new AnswerCheck(target.document)
const operations = listOperations(target.document)
const prototypes = [Object.prototype, Array.prototype, Function.prototype].map((prototype) => ({ prototype, keys: Reflect.ownKeys(prototype).length }))
/** How often each status came, by operation, and for all other requests. */
const statuses = new Map([...operations.map(({ operationId }) => operationId), 'others'].map((name) => [name, new Map<number, number>()]))
/** Errors that would have ended the process of the service. */
const uncaught: unknown[] = []
for (const name of ['uncaughtException', 'unhandledRejection'] as const) process.on(name, (error) => uncaught.push(error))
/** The bytes of the latest request, and those of the latest that failed. */
let sent: Buffer = Buffer.alloc(0)
let failed: Buffer = Buffer.alloc(0)

const requests = requestPlans(operations)
/** A request is sent in one piece or two, and the client may say that it sends no more. */
const delivery = { splitAt: fc.option(fc.nat(10_000), { freq: 3 }), ends: fc.nat(9).map((dice) => dice > 0) }
const properties = {
  operations: fc.asyncProperty(requests, (request) => recordFailure(async () => {
    const bytes = encodeRequest(request)
    const isHead = request.method === 'HEAD'
    const { answers: [answer], rest } = await send([bytes], false)
    if (answer === undefined || rest.length > 0) throw new Error(`No complete answer: ${show(rest)}`)
    checkAnswer(answer, isHead, request.operation)
    // Node refuses some requests before they have a route. Their problems are those of any operation.
    if (request.operation !== undefined) {
      check.checkOperation(request.operation, answer, isHead)
      followTasks(request.operation, answer)
    }
    await checkProcess()
  })),
  bytes: fc.asyncProperty(fc.record({ request: requests.filter(({ target }) => !target.includes('callback_url')), changes: mutations, ...delivery }), ({ request, changes, splitAt, ends }) => recordFailure(async () => {
    const bytes = mutate(encodeRequest(request), changes)
    const middle = splitAt === null ? bytes.length : Math.floor(bytes.length * splitAt / 10_001)
    const { answers } = await send([bytes.subarray(0, middle), bytes.subarray(middle)].filter(({ length }) => length > 0), ends)
    const isHead = bytes.subarray(0, 5).toString('latin1') === 'HEAD '
    for (const [index, answer] of answers.entries()) checkAnswer(answer, isHead && index === 0)
    await checkProcess()
  })),
  webhooks: fc.asyncProperty(webhookBodies, (body) => recordFailure(async () => {
    const { taskId, predictionId } = await target.createRunning()
    const filled = body.replaceAll(predictionPlaceholder, predictionId)
    const headers = Object.entries({ 'content-type': 'application/json', ...target.sign(filled) })
    const { answers: [answer] } = await send([encodeRequest({ operation: undefined, method: 'POST', target: `/webhooks/replicate/${taskId}`, headers, body: filled })], false)
    if (answer === undefined) throw new Error('No complete answer')
    checkAnswer(answer, false)
    if (answer.status === 401) throw new Error('The signature was refused')
    // What Replicate said must not break what clients read.
    for (const operation of operations.filter(({ operationId }) => operationId === 'getVideoStatus')) {
      const { answers: [status] } = await send([encodeRequest({ operation, method: 'GET', target: `/video-status/${taskId}`, headers: [], body: undefined })], false)
      if (status === undefined) throw new Error('No complete answer')
      checkAnswer(status, false, operation)
      check.checkOperation(operation, status, false)
    }
    await checkProcess()
  })),
  keys: fc.asyncProperty(requests, callerPlans, (request, caller) => recordFailure(async () => {
    const headers = [...request.headers.filter(([name]) => name !== 'authorization'), ...caller.headers]
    const isHead = request.method === 'HEAD'
    const tasks = keyed.tasks()
    const { answers: [answer] } = await send([encodeRequest({ ...request, headers }, keyed)], false, keyed)
    if (answer === undefined) throw new Error('No complete answer')
    checkAnswer(answer, isHead, request.operation)
    if (request.operation !== undefined) check.checkOperation(request.operation, answer, isHead)
    checkCaller(caller.kind, request.operation, answer, tasks, keyed.secrets)
    if (request.operation !== undefined && caller.kind === 'owner') followTasks(request.operation, answer, keyed)
    await checkProcess()
  }))
} satisfies Record<PropertyName, unknown>

/** The shares of the time. */
const shares: Record<PropertyName, number> = { operations: 0.45, bytes: 0.2, webhooks: 0.15, keys: 0.2 }
const chosen = propertyNames.filter((name) => plan.property === undefined || plan.property === name)
console.log(`seed ${plan.seed}, ${plan.seconds} s`)
let hasFailed = false
for (const name of chosen) {
  const timeLimitMs = plan.seconds * 1_000 * (chosen.length === 1 ? 1 : shares[name])
  hasFailed = await run(name, timeLimitMs) || hasFailed
}
await Promise.all([target.close(), keyed.close()])
printSummary()
// What the emulator and the client's sockets leave must not keep the run.
process.exit(hasFailed ? 1 : 0)

function readArguments (): Plan {
  try {
    return readPlan(process.argv.slice(2))
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(2)
  }
}

/** @returns whether it failed */
async function run (name: PropertyName, timeLimitMs: number): Promise<boolean> {
  const { seed, path } = plan
  const details = await fc.check<unknown>(properties[name] as fc.IAsyncProperty<unknown>, {
    seed, ...(path === undefined ? { plugins: [fc.interruptAfterTimeLimit(timeLimitMs)] } : { path }), numRuns: path === undefined ? Number.MAX_SAFE_INTEGER : 1
  })
  console.log(`${name}: ${details.numRuns} ${details.failed ? 'requests, then a failure' : 'requests'}`)
  if (!details.failed) return false
  // The run has ended with the smallest request that fails, unless the time was over before.
  const smallest = details.counterexample
  console.error(`\n${String(details.errorInstance instanceof Error ? details.errorInstance.message : details.errorInstance)}`)
  console.error(`\nThe smallest request that failed: ${JSON.stringify(smallest, (key, value: unknown) => key === 'operation' ? undefined : value)?.slice(0, 2_000)}`)
  console.error(`Its bytes: ${show(failed)}`)
  console.error(`\nTo repeat it: npm run fuzz -- --seed ${seed} --property ${name} --path ${details.counterexamplePath}`)
  return true
}

function encodeRequest ({ method, target: address, headers, body }: RequestPlan, service: Target = target): Buffer {
  const content = body === undefined ? undefined : Buffer.from(body)
  const hasHost = headers.some(([name]) => name === 'host')
  const lines = [
    `${method} ${service.fillIn(address)} HTTP/1.1`,
    ...hasHost ? [] : [`Host: 127.0.0.1:${service.port}`],
    ...headers.map(([name, value]) => `${name}: ${service.fillIn(value)}`),
    ...content === undefined ? [] : [`Content-Length: ${content.length}`],
    'Connection: close'
  ]
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), content ?? Buffer.alloc(0)])
}

async function recordFailure (attempt: () => Promise<void>): Promise<void> {
  try {
    await attempt()
  } catch (error) {
    failed = sent
    // The next attempts make the failure smaller, and begin without it.
    for (const { log } of [target, keyed]) log.forget()
    throw error
  }
}

async function send (parts: Buffer[], ends: boolean, { port }: Target = target) {
  sent = Buffer.concat(parts)
  return await exchange(port, parts, ends)
}

function checkAnswer (answer: Answer, isHead: boolean, operation?: Operation): void {
  const counts = statuses.get(operation?.operationId ?? 'others')
  counts?.set(answer.status, (counts.get(answer.status) ?? 0) + 1)
  check.checkAny(answer, isHead)
}

/** Keeps the placeholders for tasks up to date. */
function followTasks ({ operationId }: Operation, { status, body }: Answer, service: Target = target): void {
  if (operationId === 'generateVideo' && status < 300) service.remember((JSON.parse(body.toString()) as { task_id: string }).task_id)
  if (operationId === 'deleteVideo' && status < 300) service.forget(sent.toString('latin1'))
}

/** The line of a request is logged when its connection closes, which is shortly after the answer. */
async function checkProcess (): Promise<void> {
  await nextTurn()
  for (const { log } of [target, keyed]) log.check()
  for (const { prototype, keys } of prototypes) {
    if (Reflect.ownKeys(prototype).length !== keys) throw new Error('A prototype has been changed')
  }
  if (uncaught.length > 0) throw new Error(`An error was caught by nothing: ${String(uncaught.pop())}`)
}

function printSummary (): void {
  for (const [name, counts] of statuses) {
    console.log(`${name}: ${Array.from(counts).sort(([a], [b]) => a - b).map(([status, times]) => `${status} × ${times}`).join(', ')}`)
  }
  console.log(hasFailed ? 'FAILED' : 'passed')
}
