import { Writable } from 'node:stream'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { PipedOutput } from '../../services/runtime/standard-output.ts'
import { slow } from '../support/quick.ts'
import { runService } from '../support/running-service.ts'
import { startEmulator } from '../support/service.ts'

/** Far more than a pipe and the reader's own buffer can hold. */
const requests = 2_000
const missing = '/video-status/00000000-0000-7000-8000-000000000000'
/** Ends the test if the service blocks on writing its log. */
const noHangMs = 20_000

/** A stream that is read only when `read` is called, and then to its end. */
function unreadPipe () {
  const written: string[] = []
  let next: (() => void) | undefined
  let isRead = false
  const stream = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      written.push(chunk)
      if (isRead) done()
      else next = done
    }
  })
  const read = () => {
    isRead = true
    next?.()
  }
  return { stream, written, read, output: new PipedOutput(stream) }
}

t.test('unread lines are buffered up to 4 MiB, and one line says how many were dropped', async (t) => {
  const { stream, written, read, output } = unreadPipe()
  const line = `${'x'.repeat(1023)}\n`
  for (let lines = 0; lines < 5_000; lines++) output.write(line)
  t.equal(stream.writableLength, 4 * 1024 * 1024)
  read()
  await output.flush(noHangMs)
  await until(() => written.some((text) => text.includes('dropped_lines')) || undefined, 'the line about the dropped ones')
  output.write('next\n')
  await output.flush(noHangMs)
  const said = written.filter((text) => text !== '')
  t.equal(said.filter((text) => text === line).length, 4_096)
  t.match(JSON.parse(said[4_096] ?? ''), { level: 40, dropped_lines: 904, msg: /not read/ })
  t.same(said.slice(4_097), ['next\n'])
})

t.test('flush waits for the remaining lines up to its timeout, and not at all if the reader has left', async (t) => {
  const { stream, written, read, output } = unreadPipe()
  output.write('one\n')
  output.write('two\n')
  await output.flush(1)
  t.same(written, ['one\n'])
  const flushed = output.flush(noHangMs)
  read()
  await flushed
  t.same(written.slice(0, 2), ['one\n', 'two\n'])
  stream.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  await until(() => stream.closed || undefined, 'the pipe to break')
  output.write('three\n')
  await output.flush(noHangMs)
  t.notOk(written.includes('three\n'))
})

t.test('a stalled reader of the log delays no request, and gets every line when it reads again', slow, async (t) => {
  const { service, ask } = await start(t)
  service.readOutput(false)
  for (let asked = 0; asked < requests; asked += 50) await Promise.all(Array.from({ length: 50 }, ask))
  service.readOutput(true)
  await until(() => service.output().split('"status":404').length - 1 === requests || undefined, 'every line')
  t.equal((await service.end('SIGTERM')).code, 0)
})

t.test('a reader of the log that stalls for good or leaves does not keep the process from ending', slow, async (t) => {
  for (const leave of ['readOutput', 'closeOutput'] as const) {
    const { service, ask } = await start(t)
    service[leave](false)
    for (let asked = 0; asked < requests; asked += 50) await Promise.all(Array.from({ length: 50 }, ask))
    t.equal((await service.exit('SIGTERM')).code, 0, leave)
  }
})

async function start (t: Test) {
  const { apiUrl } = await startEmulator(t)
  const service = await runService(t, { REPLICATE_API_URL: apiUrl })
  const url = await service.listeningUrl()
  const ask = async () => {
    const response = await fetch(url + missing, { signal: AbortSignal.timeout(noHangMs) })
    await response.arrayBuffer()
    if (response.status !== 404) throw new Error(`${response.status}`)
  }
  return { service, ask }
}
