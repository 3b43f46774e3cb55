import { createHash } from 'node:crypto'
import { createCanvas } from '@napi-rs/canvas'
import h264 from 'h264-mp4-encoder'
import { seededRandom } from '../random.ts'
import { paintDream } from './caption.ts'
import { indexFirst } from './mp4-boxes.ts'
import { FRAMES_PER_SECOND, HEIGHT, SECONDS, WIDTH, type Context } from './frame.ts'
import { readPrompt } from './parse-prompt.ts'

const FRAMES = FRAMES_PER_SECOND * SECONDS

/** The frames of a prompt's video, painted one after another on the same canvas; the same prompt, the same frames. */
export function * paintFrames (prompt: string, frames = FRAMES): Generator<Context> {
  const { look, dream } = readPrompt(prompt)
  const random = seededRandom(createHash('sha256').update(prompt).digest().readUInt32BE())
  const paint = look.background(random)
  const words = paintDream(dream, look)
  const context = createCanvas(WIDTH, HEIGHT).getContext('2d')
  for (let frame = 0; frame < frames; frame++) {
    paint(context, frame / frames)
    context.drawImage(words, 0, 0)
    yield context
  }
}

/** Makes the video of a prompt: MP4, H.264 baseline, portrait, four seconds. Takes about a second of one core. */
export async function renderFilm (prompt: string): Promise<Buffer> {
  const encoder = await h264.createH264MP4Encoder()
  try {
    Object.assign(encoder, { width: WIDTH, height: HEIGHT, frameRate: FRAMES_PER_SECOND, speed: 8, quantizationParameter: 26, groupOfPictures: FRAMES_PER_SECOND })
    encoder.initialize()
    for (const context of paintFrames(prompt)) encoder.addFrameRgba(context.getImageData(0, 0, WIDTH, HEIGHT).data)
    encoder.finalize()
    return indexFirst(Buffer.from(encoder.FS.readFile(encoder.outputFilename)))
  } finally {
    encoder.delete()
  }
}
