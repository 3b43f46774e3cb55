import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import { newTask } from '../../services/tasks/task.ts'
import { storeTask } from './store-task.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }

/** Creates tasks without end and prints the id of each as soon as it is acknowledged. */
const store = createSqliteTaskStore({ dataDir: process.argv[2] ?? '', now: Date.now, log })
while (true) {
  const tasks = Array.from({ length: 10 }, () => storeTask(store, newTask('A dream', 'Realistic', 840, Date.now())))
  for (const created of tasks) process.stdout.write(`${(await created).id}\n`)
}
