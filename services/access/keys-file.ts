import { readFile } from 'node:fs/promises'
import type { Log } from '../runtime/log.ts'
import { StartError } from '../runtime/start-error.ts'
import { parseKeyEntries, type KeyEntry } from './key-entries.ts'

export interface KeysFileOptions {
  path: string
  /** called with the entries of each further version of the file */
  onEntries: (entries: KeyEntry[]) => void
  intervalMs: number
  log: Log
}

/** What a read has found: the text of the file, or why it cannot be read. */
type FileState = { text: string } | { error: NodeJS.ErrnoException }

/**
 * The file of the API keys. It is read again and again, because that also notices what a watch of the file misses: a link that leads to
 * another file, as in the volume of a Kubernetes Secret, a file that was mounted, a network file system. It is small, so a read costs less
 * than a request.
 */
export class KeysFile {
  readonly #options: KeysFileOptions
  /** what is applied, or was refused */
  #settled = ''
  /** what the last read has found */
  #seen = ''
  #timer: NodeJS.Timeout | undefined
  #checking: Promise<void> | undefined

  constructor (options: KeysFileOptions) {
    this.#options = options
  }

  /**
   * Reads the file for the first time.
   * @throws StartError if it cannot be read, or has a fault
   */
  async load (): Promise<KeyEntry[]> {
    const { path } = this.#options
    const state = await readState(path)
    if ('error' in state) throw new StartError(`API_KEYS_FILE cannot be read: ${path}: ${state.error.code ?? 'unknown error'}`)
    const parsed = parseKeyEntries(state.text)
    if (!parsed.ok) throw new StartError([`API_KEYS_FILE cannot be used: ${path}`, ...parsed.faults.map((fault) => `  - ${fault}`)].join('\n'))
    this.#settled = identify(state)
    return parsed.entries
  }

  /** Looks for another version of the file in each interval, from now on. */
  watch (): void {
    this.#timer = setInterval(() => {
      this.#checking ??= this.#check().finally(() => { this.#checking = undefined })
    }, this.#options.intervalMs).unref()
  }

  /** Does not wait for a read: a network file system may not answer, and nothing depends on the result. */
  stop (): void {
    clearInterval(this.#timer)
  }

  /**
   * A version counts when two reads have found the same, because one read may find a file that is being written. A version that cannot be
   * used changes nothing and is logged once.
   */
  async #check (): Promise<void> {
    const { path, onEntries, log } = this.#options
    const state = await readState(path)
    const found = identify(state)
    const isNew = found !== this.#seen
    this.#seen = found
    if (isNew || found === this.#settled) return
    this.#settled = found
    if ('error' in state) return log.error({ code: state.error.code, path }, 'API_KEYS_FILE cannot be read; the keys that were read last stay valid')
    const parsed = parseKeyEntries(state.text)
    if (!parsed.ok) return log.error({ faults: parsed.faults, path }, 'API_KEYS_FILE cannot be used; the keys that were read last stay valid')
    onEntries(parsed.entries)
    log.info({ entries: parsed.entries.length, path }, 'API_KEYS_FILE has changed; its keys are valid now')
  }
}

async function readState (path: string): Promise<FileState> {
  try {
    return { text: await readFile(path, 'utf8') }
  } catch (error) {
    return { error: error instanceof Error ? error : new Error(String(error)) }
  }
}

function identify (state: FileState): string {
  return 'error' in state ? `error ${state.error.code}` : `text ${state.text}`
}
