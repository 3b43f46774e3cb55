import { fstatSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { destination } from 'pino'

/** Where log lines go. */
export interface LogOutput {
  write (line: string): void
  /** Resolves when all lines have left, or never will, or the time, in ms, is over. Never rejects. */
  flush (withinMs: number): Promise<void>
}

/** What waits for room on a full disk, or for a reader that does not read, in bytes or characters; what comes beyond is dropped. */
const maxBuffered = 4 * 1024 * 1024

/** Standard output, as what it is: nothing that happens to it is a reason not to do the service's work. */
export function openStandardOutput (): LogOutput {
  const kind = fstatSync(1)
  return kind.isFIFO() || kind.isSocket() ? new PipedOutput(process.stdout) : openSyncOutput()
}

/**
 * A file or a terminal. A line that cannot be written, because the disk is full, is written with the next one. There is
 * no other place to say so.
 */
function openSyncOutput (): LogOutput {
  const stream = destination({ dest: 1, sync: true, maxLength: maxBuffered })
  stream.on('error', () => {})
  return { write: (line) => { stream.write(line) }, flush: async () => {} }
}

/**
 * A pipe or a socket, whose reader may stall: were each line written at once, whatever it takes, the process would stand
 * still as soon as the 64 kB of the pipe are full. Node writes to these without blocking, and keeps in memory what does
 * not fit: here that is bounded.
 */
export class PipedOutput implements LogOutput {
  readonly #stream
  #dropped = 0
  #hasReader = true

  constructor (stream: Writable) {
    this.#stream = stream
    // The reader went away, and there is no other place to say so.
    stream.on('error', () => { this.#hasReader = false })
    stream.on('drain', () => this.#reportDropped())
  }

  write (line: string): void {
    if (!this.#hasReader) return
    if (this.#dropped > 0 || this.#stream.writableLength + line.length > maxBuffered) this.#dropped++
    else this.#stream.write(line)
  }

  async flush (withinMs: number): Promise<void> {
    if (!this.#hasReader) return
    const done = new AbortController()
    const last = new Promise<void>((resolve) => this.#stream.write('', () => resolve()))
    const late = delay(withinMs, undefined, { signal: done.signal }).catch(() => {})
    await Promise.race([last, late])
    done.abort()
  }

  /** Lines are dropped until all that were kept have been read: so there is one gap, and one line that tells of it. */
  #reportDropped (): void {
    if (this.#dropped === 0) return
    const lines = this.#dropped
    this.#dropped = 0
    this.write(`${JSON.stringify({ level: 40, time: Date.now(), pid: process.pid, dropped_lines: lines, msg: 'Log lines were dropped: standard output was not read' })}\n`)
  }
}
