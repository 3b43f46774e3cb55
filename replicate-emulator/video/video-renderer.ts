import { Worker } from 'node:worker_threads'
import type { VideoSource } from './sample-video.ts'
import type { RenderRequest, RenderResult } from './video-worker.ts'

const maxCached = 200

/** Renders the video and the image of a prompt once, in a worker thread: requests at the same time share the work. */
export class VideoRenderer implements VideoSource {
  #worker: Worker | undefined
  #files = new Map<string, Promise<Buffer>>()
  #waiting = new Map<number, { resolve: (file: Buffer) => void, reject: (error: Error) => void }>()
  #lastId = 0

  videoFor (prompt: string): Promise<Buffer> {
    return this.#cached('video', prompt)
  }

  imageFor (prompt: string): Promise<Buffer> {
    return this.#cached('image', prompt)
  }

  async close (): Promise<void> {
    await this.#worker?.terminate()
    this.#failAll(new Error('The emulator is closing'))
  }

  #cached (what: RenderRequest['what'], prompt: string): Promise<Buffer> {
    const key = `${what} ${prompt}`
    const known = this.#files.get(key)
    if (known !== undefined) return known
    const file = this.#render(what, prompt)
    this.#files.set(key, file)
    file.catch(() => this.#files.delete(key))
    const [oldest] = this.#files.keys()
    if (this.#files.size > maxCached && oldest !== undefined) this.#files.delete(oldest)
    return file
  }

  #render (what: RenderRequest['what'], prompt: string): Promise<Buffer> {
    const worker = this.#worker ??= this.#startWorker()
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#waiting.set(id, { resolve, reject })
      const request: RenderRequest = { id, what, prompt }
      worker.postMessage(request)
    })
  }

  #startWorker (): Worker {
    // The worker must not have the loaders with which the process was started.
    const worker = new Worker(new URL('video-worker.ts', import.meta.url), { execArgv: [] })
    worker.on('message', (report: RenderResult) => {
      const waiting = this.#waiting.get(report.id)
      this.#waiting.delete(report.id)
      if ('error' in report) waiting?.reject(new Error(report.error))
      else waiting?.resolve(Buffer.from(report.file))
    })
    worker.on('error', (error) => {
      this.#worker = undefined
      this.#failAll(error instanceof Error ? error : new Error(String(error)))
    })
    worker.unref()
    return worker
  }

  #failAll (error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
