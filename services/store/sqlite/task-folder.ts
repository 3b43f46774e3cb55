import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { StartError } from '../../runtime/start-error.ts'
import type { Task } from '../../tasks/task.ts'
import type { DueDelivery } from '../callback-deliveries.ts'
import type { KeyRow } from '../idempotency-key.ts'
import { rowToTask } from '../task-row.ts'
import { readDeliveries } from './sqlite-callback-deliveries.ts'
import { openDatabase, readStoreId } from './sqlite-database.ts'
import { asKeyRow } from './sqlite-idempotency-keys.ts'
import { asTaskRow } from './sqlite-task-table.ts'

const databaseFile = 'dreamreel.db'

/** Reads everything that a `DATA_DIR` holds, for an import into another store. */
export interface TaskFolder {
  /** the random id of the store */
  storeId: string
  /** All tasks, ended ones too, in the order of their creation. */
  tasks: (batchSize: number) => Generator<Task[]>
  /** All callback deliveries that are not finished. */
  deliveries: (now: number) => DueDelivery[]
  /** All idempotency keys. */
  keys: (batchSize: number) => Generator<KeyRow[]>
  close: () => void
}

/**
 * Opens a folder that has tasks, to read all of them. Until `close` it belongs to this process alone.
 * @throws StartError when it has no database, another process works on it or a newer release wrote it
 */
export function openTaskFolder (dataDir: string): TaskFolder {
  if (!existsSync(join(dataDir, databaseFile))) throw new StartError(`DATA_DIR ${dataDir} holds no tasks: there is no ${databaseFile} in it`)
  const database = openDatabase(prepareTaskFolder(dataDir))
  const next = database.prepare('select * from task where seq > ? order by seq limit ?')
  const nextKeys = database.prepare('select * from idempotency_key where (scope, key) > (?, ?) order by scope, key limit ?')
  return {
    storeId: readStoreId(database),
    * tasks (batchSize) {
      let seq = 0
      for (let found = next.all(seq, batchSize); found.length > 0; found = next.all(seq, batchSize)) {
        const batch = found.map(asTaskRow)
        yield batch.map(rowToTask)
        seq = batch.at(-1)?.seq ?? seq
      }
    },
    deliveries: (now) => readDeliveries(database, now),
    * keys (batchSize) {
      let [scope, key] = ['', '']
      for (let found = nextKeys.all(scope, key, batchSize); found.length > 0; found = nextKeys.all(scope, key, batchSize)) {
        const batch = found.map(asKeyRow)
        yield batch
        ;({ scope, key } = batch.at(-1) ?? { scope, key })
      }
    },
    close: () => database.close()
  }
}

/**
 * Makes the folder if it is missing, readable for its owner only.
 * @returns the path of the database file; `:memory:` stays as it is
 * @throws StartError when the folder cannot be written to
 */
export function prepareTaskFolder (dataDir: string): string {
  if (dataDir === ':memory:') return dataDir
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    accessSync(dataDir, constants.W_OK)
  } catch (error) {
    throw new StartError(`DATA_DIR ${dataDir} cannot be written to`, { cause: error })
  }
  return join(dataDir, databaseFile)
}
