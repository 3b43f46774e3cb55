import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { InstanceClock } from '../../chaos/instance-clock.ts'

const show = ['-e', 'console.log(Date.now())']

t.test('a process has the clock that it was given', (t) => {
  const clock = InstanceClock.find(join(t.testdir(), 'clock'), -120_000)
  if (clock === undefined) {
    t.pass('libfaketime is not on this machine', { skip: true })
    return t.end()
  }
  const minutesAhead = () => {
    const text = execFileSync(process.execPath, show, { env: { PATH: process.env.PATH, ...clock.env }, encoding: 'utf8' })
    return Math.round((Number(text) - Date.now()) / 60_000)
  }
  t.equal(minutesAhead(), -2)
  clock.step(240_000)
  t.equal(minutesAhead(), 4)
  clock.reset()
  t.equal(minutesAhead(), -2)
  t.end()
})
