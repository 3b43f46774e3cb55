import t from 'tap'
import { assignStartTags } from '../../services/store/fair-order.ts'
import { newTask, type Task } from '../../services/tasks/task.ts'

const aTask = (keyName: string | null = null, overrides: Partial<Task> = {}) => ({ ...newTask('A whale', 'Cursed', 840, 0, { keyName }), ...overrides })
const tags = (tasks: Task[]) => tasks.map(({ startTag }) => startTag)
const nothing = { highestSubmitted: null, lowestQueued: null, highestOfKey: new Map() }

t.test('the tags of an empty queue begin at 0, for each key', async (t) => {
  t.same(tags(assignStartTags([aTask('a'), aTask('a'), aTask('b'), aTask(), aTask('a'), aTask()], nothing)), [0, 1, 0, 0, 2, 1])
})

t.test('a key continues after its own last task, and a quiet one at the virtual time', async (t) => {
  const open = { highestSubmitted: 4, lowestQueued: 5, highestOfKey: new Map([['a', 40], ['b', 2], [null, 7]]) }
  t.same(tags(assignStartTags([aTask('a'), aTask('b'), aTask('c'), aTask(), aTask('c')], open)), [41, 5, 5, 8, 6])
})

t.test('the virtual time does not fall behind what has been submitted, or what is queued', async (t) => {
  t.same(tags(assignStartTags([aTask('c')], { ...nothing, lowestQueued: 3, highestSubmitted: 900 })), [900], 'a queued task waits for long')
  t.same(tags(assignStartTags([aTask('c')], { ...nothing, lowestQueued: 900, highestSubmitted: 3 })), [900], 'those that were submitted have ended')
})

t.test('tasks that were submitted elsewhere do not delay the queued tasks of their key', async (t) => {
  const tasks = [aTask('a', { state: 'generating' }), aTask('a', { state: 'completed', startTag: 2 }), aTask('a'), aTask('a')]
  t.same(tags(assignStartTags(tasks, { ...nothing, lowestQueued: 6 })), [6, 2, 6, 7])
})

/** Serves one task after another, as the gate does: `arrivals` are the keys whose tasks arrive before each of them is served. */
function serve (arrivals: string[][]): string[] {
  const queued: Task[] = []
  const submitted: Task[] = []
  const served: string[] = []
  for (const [time, keys] of arrivals.entries()) {
    for (const key of keys) {
      const open = [...submitted, ...queued]
      const ofKey = open.filter(({ keyName }) => keyName === key).map(({ startTag }) => startTag)
      queued.push(...assignStartTags([aTask(key, { createdAt: time })], {
        highestSubmitted: submitted.length === 0 ? null : Math.max(...tags(submitted)),
        lowestQueued: queued.length === 0 ? null : Math.min(...tags(queued)),
        highestOfKey: new Map(ofKey.length === 0 ? [] : [[key, Math.max(...ofKey)]])
      }))
    }
    queued.sort((a, b) => a.startTag - b.startTag || a.createdAt - b.createdAt)
    const next = queued.shift()
    if (next === undefined) continue
    submitted.push(next)
    served.push(String(next.keyName))
    // Generations end after a while.
    if (submitted.length > 3) submitted.shift()
  }
  return served
}

const times = (count: number, keys: string[]) => Array.from({ length: count }, () => keys)

t.test('of keys with more tasks than are served, none gets more than one task ahead of another', async (t) => {
  const keys = ['a', 'b', 'c']
  const served = serve([Array(100).fill('a'), ...times(20, ['b']), ...times(200, keys)])
  const from = 40
  for (let end = from + 1; end < served.length; end++) {
    const counts = keys.map((key) => served.slice(from, end).filter((name) => name === key).length)
    t.ok(Math.max(...counts) - Math.min(...counts) <= 2, `${counts} of the ${end - from} tasks from the 40th on`)
  }
})

t.test('a key with a task now and then does not wait for those of a flood', async (t) => {
  const arrivals = [Array(300).fill('flood'), ...times(201, ['flood', 'flood']).map((keys, time) => time % 10 === 9 ? [...keys, 'quiet'] : keys)]
  const served = serve(arrivals)
  const waits = served.flatMap((name, time) => name === 'quiet' ? [time] : []).map((time, index) => time - (10 + index * 10))
  t.equal(waits.length, 20)
  t.ok(Math.max(...waits) <= 1, `waits ${waits}`)
})
