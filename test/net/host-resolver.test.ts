import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { CallbackClient } from '../../services/callbacks/callback-client.ts'
import { HostResolver } from '../../services/net/host-resolver.ts'
import { startEmulator } from '../support/service.ts'

type Record4or6 = 1 | 28
const types = { A: 1, AAAA: 28 } as const

/** A name server. `answer` returns the addresses as bytes, or undefined to send no response. */
async function startNameServer (t: Test, answer: (name: string, type: Record4or6) => number[][] | 'no such name' | undefined = () => undefined) {
  const asked: string[] = []
  const server: Socket = createSocket('udp4', (question, { port, address }) => {
    const { name, type, end } = readQuestion(question)
    asked.push(name)
    const found = answer(name, type)
    if (found !== undefined) server.send(answerOf(question.subarray(0, end), type, found), port, address)
  })
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { asked, servers: [`127.0.0.1:${server.address().port}`] }
}

/** RFC 1035, section 4.1: a header of twelve bytes, labels with their lengths, type and class. */
function readQuestion (question: Buffer) {
  const labels: string[] = []
  let at = 12
  for (let length = question[at] ?? 0; length > 0; length = question[at] ?? 0) {
    labels.push(question.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  const type = question.readUInt16BE(at + 1)
  return { name: labels.join('.').toLowerCase(), type: type === types.A ? types.A : types.AAAA, end: at + 5 }
}

function answerOf (question: Buffer, type: number, found: number[][] | 'no such name'): Buffer {
  const head = Buffer.from(question)
  head.writeUInt16BE(found === 'no such name' ? 0x8183 : 0x8180, 2)
  head.writeUInt16BE(found === 'no such name' ? 0 : found.length, 6)
  head.writeUInt32BE(0, 8)
  const records = found === 'no such name' ? [] : found.map((bytes) => Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, bytes.length, ...bytes]))
  return Buffer.concat([head, ...records])
}

const never = new AbortController().signal

t.test('while the name server of many names does not respond, other names are resolved at once', async (t) => {
  const { asked, servers } = await startNameServer(t)
  const { apiUrl } = await startEmulator(t)
  const client = new CallbackClient({ allowPrivate: false, timeoutMs: 20_000, nameServers: servers })
  const answers: string[] = []
  const posts = Array.from({ length: 24 }, async (_, name) => {
    const answer = await client.post(`https://silent-${name}.invalid/`, {}, '{}')
    answers.push(answer.outcome === 'unreachable' ? answer.reason : answer.outcome)
  })
  await until(() => new Set(asked).size >= 16 || undefined, 'sixteen names to be asked for')
  t.match(await lookup('localhost'), { address: /.+/ })
  const emulator = new URL(apiUrl)
  t.equal((await fetch(`http://localhost:${emulator.port}/emulator/state`)).status, 200)
  t.same(answers, [], 'all of them are still being resolved')
  t.equal(new Set(asked).size, 16, 'no more at a time')
  await Promise.all(posts)
  t.same(answers, Array.from({ length: 24 }, () => 'ETIMEOUT'))
})

t.test('aborting stops a lookup, even one that has not begun', async (t) => {
  const { asked, servers } = await startNameServer(t)
  const names = new HostResolver({ allowPrivate: false, servers })
  const over = new AbortController()
  const lookups = Promise.allSettled(Array.from({ length: 20 }, (_, name) => names.resolve(`silent-${name}.invalid`, over.signal)))
  await until(() => new Set(asked).size >= 16 || undefined, 'sixteen names to be asked for')
  const reason = new Error('Over')
  over.abort(reason)
  t.same((await lookups).map((outcome) => outcome.status === 'rejected' && outcome.reason === reason), Array.from({ length: 20 }, () => true))
})

t.test('both address families are resolved, IPv4 first, and one that is silent or empty delays nothing', async (t) => {
  const { servers } = await startNameServer(t, (name, type) => {
    const [four, six] = [[8, 8, 8, 8], [0x26, 0x06, 0x47, 0, 0x47, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x11]]
    switch (name) {
      case 'both.invalid': return type === types.A ? [four] : [six]
      case 'four.invalid': return type === types.A ? [four] : []
      case 'six.invalid': return type === types.A ? [] : [six]
      case 'half.invalid': return type === types.A ? [four] : undefined
      default: return 'no such name'
    }
  })
  const names = new HostResolver({ allowPrivate: false, servers })
  const four = { address: '8.8.8.8', family: 4 }
  const six = { address: '2606:4700:4700::1111', family: 6 }
  t.same(await names.resolve('both.invalid', never), [four, six])
  t.same(await names.resolve('both.invalid.', never), [four, six])
  t.same(await names.resolve('four.invalid', never), [four])
  t.same(await names.resolve('six.invalid', never), [six])
  t.same(await names.resolve('half.invalid', never), [four])
  await t.rejects(names.resolve('none.invalid', never), { code: 'ENOTFOUND' })
})

t.test('the name of this machine is resolved, and called only if private addresses are allowed', async (t) => {
  const { asked, servers } = await startNameServer(t, () => 'no such name')
  const { apiUrl } = await startEmulator(t)
  const address = `http://localhost:${new URL(apiUrl).port}/`
  t.match(await new CallbackClient({ allowPrivate: true, timeoutMs: 20_000, nameServers: servers }).post(address, {}, '{}'), { outcome: 'answered' })
  t.same(asked, [])
})

t.test('what the name servers do not know is resolved by the system, but only where private addresses are allowed', async (t) => {
  const { servers } = await startNameServer(t, () => 'no such name')
  // An address is a name that every system resolves without asking.
  t.same(await new HostResolver({ allowPrivate: true, servers }).resolve('127.0.0.1', never), [{ address: '127.0.0.1', family: 4 }])
  await t.rejects(new HostResolver({ allowPrivate: false, servers }).resolve('127.0.0.1', never), { code: 'ENOTFOUND' })
})

t.test('a name that resolves into a private network is not connected to', async (t) => {
  const { servers } = await startNameServer(t, (_name, type) => type === types.A ? [[127, 0, 0, 1]] : [[...Array(15).fill(0), 1]])
  const client = new CallbackClient({ allowPrivate: false, timeoutMs: 20_000, nameServers: servers })
  t.same(await client.post('https://app.invalid/', {}, '{}'), { outcome: 'unreachable', reason: 'not_public' })
})
