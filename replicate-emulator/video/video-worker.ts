import { parentPort } from 'node:worker_threads'
import { renderFilm } from './render-video.ts'

/** What the studio asks, and what it hears. */
export interface FilmOrder { id: number, prompt: string }
export type FilmReport = { id: number, film: Uint8Array } | { id: number, error: string }

// One order at a time: the encoder keeps its core busy anyway.
let last = Promise.resolve()

parentPort?.on('message', (order: FilmOrder) => {
  last = last.then(async () => parentPort?.postMessage(await fulfil(order)))
})

async function fulfil ({ id, prompt }: FilmOrder): Promise<FilmReport> {
  try {
    return { id, film: await renderFilm(prompt) }
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) }
  }
}
