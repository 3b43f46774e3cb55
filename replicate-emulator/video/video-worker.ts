import { parentPort } from 'node:worker_threads'
import { renderImage, renderVideo } from './render-video.ts'

/** The messages from and to the renderer. */
export interface RenderRequest { id: number, what: 'video' | 'image', prompt: string }
export type RenderResult = { id: number, file: Uint8Array } | { id: number, error: string }

const renderers = { video: renderVideo, image: renderImage }

// One request at a time: the encoder uses a whole core anyway.
let last = Promise.resolve()

parentPort?.on('message', (request: RenderRequest) => {
  last = last.then(async () => parentPort?.postMessage(await render(request)))
})

async function render ({ id, what, prompt }: RenderRequest): Promise<RenderResult> {
  try {
    return { id, file: await renderers[what](prompt) }
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) }
  }
}
