import { createCanvas } from '@napi-rs/canvas'
import h264 from 'h264-mp4-encoder'
import { createHash } from 'node:crypto'
import { seededRandom } from '../random.ts'
import { paintCaption } from './caption.ts'
import { framesPerSecond, frameHeight, videoSeconds, frameWidth, type Context } from './frame.ts'
import { moveIndexFirst } from './mp4-boxes.ts'
import { parsePrompt } from './parse-prompt.ts'

const totalFrames = framesPerSecond * videoSeconds

/** Paints the frames of the video of a prompt one after another on the same canvas. The same prompt gives the same frames. */
function * paintFrames (prompt: string, frames = totalFrames): Generator<Context> {
  const { style, dream } = parsePrompt(prompt)
  const random = seededRandom(createHash('sha256').update(prompt).digest().readUInt32BE())
  const paint = style.background(random)
  const caption = paintCaption(dream, style)
  const context = createCanvas(frameWidth, frameHeight).getContext('2d')
  for (let frame = 0; frame < frames; frame++) {
    paint(context, frame / frames)
    context.drawImage(caption, 0, 0)
    yield context
  }
}

/** Renders the video of a prompt: MP4, H.264 baseline, portrait, four seconds. It takes about one second of CPU time. */
export async function renderVideo (prompt: string): Promise<Buffer> {
  const encoder = await h264.createH264MP4Encoder()
  try {
    Object.assign(encoder, { width: frameWidth, height: frameHeight, frameRate: framesPerSecond, speed: 8, quantizationParameter: 26, groupOfPictures: framesPerSecond })
    encoder.initialize()
    for (const context of paintFrames(prompt)) encoder.addFrameRgba(context.getImageData(0, 0, frameWidth, frameHeight).data)
    encoder.finalize()
    return moveIndexFirst(Buffer.from(encoder.FS.readFile(encoder.outputFilename)))
  } finally {
    encoder.delete()
  }
}

/** The first frame of the video of a prompt as a JPEG. */
export async function renderImage (prompt: string): Promise<Buffer> {
  const [frame] = paintFrames(prompt, 1)
  if (frame === undefined) throw new Error('There is no frame')
  return await frame.canvas.encode('jpeg', 85)
}
