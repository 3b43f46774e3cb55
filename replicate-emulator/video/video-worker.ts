import { parentPort } from 'node:worker_threads'
import { renderVideo } from './render-video.ts'

/** The messages from and to the renderer. */
export interface RenderRequest { id: number, prompt: string }
export type RenderResult = { id: number, video: Uint8Array } | { id: number, error: string }

// One request at a time: the encoder uses a whole core anyway.
let last = Promise.resolve()

parentPort?.on('message', (request: RenderRequest) => {
  last = last.then(async () => parentPort?.postMessage(await render(request)))
})

async function render ({ id, prompt }: RenderRequest): Promise<RenderResult> {
  try {
    return { id, video: await renderVideo(prompt) }
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) }
  }
}
