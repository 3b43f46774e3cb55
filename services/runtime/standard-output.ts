import { fstatSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { destination } from 'pino'

/** The destination of log lines. */
export interface LogOutput {
  write (line: string): void
  /** Resolves when all lines have been written, cannot be written, or the time is over. Never rejects. */
  flush (withinMs: number): Promise<void>
}

/** Limits the lines that wait for a full disk or for a slow reader, in bytes or characters. Further lines are dropped. */
const maxBuffered = 4 * 1024 * 1024

/** Opens standard output in a way that suits its kind. No failure of it may stop the service. */
export function openStandardOutput (): LogOutput {
  const kind = fstatSync(1)
  return kind.isFIFO() || kind.isSocket() ? new PipedOutput(process.stdout) : openSyncOutput()
}

/**
 * For a file or a terminal. A line that cannot be written because the disk is full is written together with the next one. The error is
 * ignored, because there is no other place to report it.
 */
function openSyncOutput (): LogOutput {
  const stream = destination({ dest: 1, sync: true, maxLength: maxBuffered })
  stream.on('error', () => {})
  return { write: (line) => { stream.write(line) }, flush: async () => {} }
}

/**
 * For a pipe or a socket, whose reader may stall. Synchronous writes would block the process as soon as the 64 kB of the pipe are full.
 * Node writes to pipes without blocking and keeps in memory what does not fit; this limits that memory.
 */
export class PipedOutput implements LogOutput {
  readonly #stream
  #dropped = 0
  #hasReader = true

  constructor (stream: Writable) {
    this.#stream = stream
    // The reader has closed the pipe, and there is no other place to report it.
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

  /** Lines are dropped until all buffered ones have been read, so that there is one gap and one line that reports it. */
  #reportDropped (): void {
    if (this.#dropped === 0) return
    const lines = this.#dropped
    this.#dropped = 0
    this.write(`${JSON.stringify({ level: 40, time: Date.now(), pid: process.pid, dropped_lines: lines, msg: 'Log lines were dropped: standard output was not read' })}\n`)
  }
}
