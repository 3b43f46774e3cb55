import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { noise } from './noise.ts'
import type { FileContent, OutputFile } from './output-file.ts'
import type { Prediction } from './prediction.ts'
import { freeBoxHeader } from './video/mp4-boxes.ts'
import type { VideoSource } from './video/sample-video.ts'

/** The files of a prediction: its video, and the picture that some models give as well. */
export type FileName = 'video' | 'thumbnail'

/** A file that can be read from any byte on, without having all of it in memory. */
export interface ReadableFile {
  type: string
  bytes: number
  etag: string
  /** @param last included */
  read: (first: number, last: number) => Iterable<Buffer>
}

/** What a copy of a file can be compared with. */
export interface FileDigest { type: string, bytes: number, sha256: string }

const usualContents = { video: 'video', thumbnail: 'image' } as const satisfies Record<FileName, FileContent>
const types: Record<FileContent, string> = { video: 'video/mp4', image: 'image/jpeg', html: 'text/html; charset=utf-8', json: 'application/json', noise: 'video/mp4' }

/** The files of the predictions. They stay the same for as long as the emulator runs, also after they were wiped. */
export class PredictionFiles {
  readonly #source: VideoSource

  constructor (source: VideoSource) {
    this.#source = source
  }

  async open (prediction: Prediction, name: FileName): Promise<ReadableFile> {
    const { content = usualContents[name], type = types[content], bytes: size }: OutputFile = prediction.ending[name] ?? {}
    const start = await this.#start(content, prediction, size)
    const bytes = size ?? start.length
    const etag = `"${createHash('sha256').update(JSON.stringify([prediction.id, name, content, bytes])).digest('base64url')}"`
    return { type, bytes, etag, read: (first, last) => readPadded(start, prediction.id, first, last) }
  }

  async digest (prediction: Prediction, name: FileName): Promise<FileDigest> {
    const { type, bytes, read } = await this.open(prediction, name)
    const hash = createHash('sha256')
    for await (const chunk of Readable.from(read(0, bytes - 1))) hash.update(chunk)
    return { type, bytes, sha256: hash.digest('hex') }
  }

  async close (): Promise<void> {
    await this.#source.close()
  }

  /** What comes before the padding. Each prediction has a file of its own, also where others have the same prompt. */
  async #start (content: FileContent, prediction: Prediction, size = 0): Promise<Buffer> {
    const { id } = prediction
    switch (content) {
      case 'video': return withId(await this.#source.videoFor(promptOf(prediction)), id, size)
      case 'image': return Buffer.concat([await this.#source.imageFor(promptOf(prediction)), Buffer.from(id)])
      case 'html': return Buffer.from(`<!doctype html>\n<title>Error</title>\n<p>The file of ${id} is not available.\n`)
      case 'json': return Buffer.from(JSON.stringify({ detail: `The file of ${id} is not available.` }))
      case 'noise': return Buffer.alloc(0)
    }
  }
}

/** Players pass over the box at the end. @param size of the file, where it is to be longer: the box reaches to its end */
function withId (video: Buffer, id: string, size: number): Buffer {
  const boxBytes = freeBoxHeader(0).length + id.length
  return Buffer.concat([video, freeBoxHeader(Math.max(boxBytes, size - video.length)), Buffer.from(id)])
}

function * readPadded (start: Buffer, seed: string, first: number, last: number): Generator<Buffer> {
  if (first < start.length) yield start.subarray(first, last + 1)
  if (last >= start.length) yield * noise(seed, Math.max(first, start.length), last + 1)
}

function promptOf ({ input }: Prediction): string {
  return typeof input.prompt === 'string' ? input.prompt : ''
}
