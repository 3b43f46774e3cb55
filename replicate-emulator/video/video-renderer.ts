import { Worker } from 'node:worker_threads'
import type { RenderResult } from './video-worker.ts'

const maxCached = 200

/** Renders the video of a prompt once, in a worker thread: requests at the same time share the work. */
export class VideoRenderer {
  #worker: Worker | undefined
  #videos = new Map<string, Promise<Buffer>>()
  #waiting = new Map<number, { resolve: (video: Buffer) => void, reject: (error: Error) => void }>()
  #lastId = 0

  /** @returns an MP4 file, H.264, portrait, four seconds */
  videoFor (prompt: string): Promise<Buffer> {
    const known = this.#videos.get(prompt)
    if (known !== undefined) return known
    const video = this.#render(prompt)
    this.#videos.set(prompt, video)
    video.catch(() => this.#videos.delete(prompt))
    const [oldest] = this.#videos.keys()
    if (this.#videos.size > maxCached && oldest !== undefined) this.#videos.delete(oldest)
    return video
  }

  async close (): Promise<void> {
    await this.#worker?.terminate()
    this.#failAll(new Error('The emulator is closing'))
  }

  #render (prompt: string): Promise<Buffer> {
    const worker = this.#worker ??= this.#startWorker()
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#waiting.set(id, { resolve, reject })
      worker.postMessage({ id, prompt })
    })
  }

  #startWorker (): Worker {
    // The worker must not have the loaders with which the process was started.
    const worker = new Worker(new URL('video-worker.ts', import.meta.url), { execArgv: [] })
    worker.on('message', (report: RenderResult) => {
      const waiting = this.#waiting.get(report.id)
      this.#waiting.delete(report.id)
      if ('error' in report) waiting?.reject(new Error(report.error))
      else waiting?.resolve(Buffer.from(report.video))
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
