import { PassThrough } from 'node:stream'
import t from 'tap'
import { BodyBudget } from '../../services/http/body-budget.ts'

const textOf = (body: Buffer) => body.toString()

t.test('a body is passed on whole, and one over its limit is refused', async (t) => {
  const room = new BodyBudget(10_000)
  const stream = new PassThrough()
  const read = room.read(stream, 10, textOf)
  stream.write('half ')
  stream.end('whole')
  t.equal(await read, 'half whole')
  const large = new PassThrough()
  const refused = room.read(large, 10, textOf)
  large.write('eleven bytes')
  t.equal(await refused, 'too_large')
})

t.test('a body in chunks of one byte counts with the memory that its chunks take', async (t) => {
  const room = new BodyBudget(10_000)
  const stream = new PassThrough()
  const read = room.read(stream, 1_000, textOf)
  for (let count = 0; count < 40; count++) stream.write('a')
  t.equal(await read, 'budget_exhausted')
})

t.test('memory is freed whether a body ends, breaks off or fails to be consumed', async (t) => {
  const room = new BodyBudget(1_000)
  const give = (parse = textOf) => {
    const stream = new PassThrough()
    const read = room.read(stream, 1_000, parse)
    stream.write('a'.repeat(700))
    return { stream, read }
  }
  const broken = give()
  await new Promise(setImmediate)
  t.equal(await give().read, 'budget_exhausted')
  broken.stream.destroy(new Error('reset'))
  await t.rejects(broken.read, { message: 'reset' })
  const failing = give(() => { throw new Error('not readable') })
  failing.stream.end()
  await t.rejects(failing.read, { message: 'not readable' })
  const whole = give()
  whole.stream.end()
  t.equal(await whole.read, 'a'.repeat(700))
})
