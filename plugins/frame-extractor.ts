import fp from 'fastify-plugin'
import { StartError } from '../services/runtime/start-error.ts'
import { FrameExtractor } from '../services/videos/frame-extractor.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined where no posters are made of videos. */
    frameExtractor: FrameExtractor | undefined
  }
}

export interface FrameExtractorOptions {
  /** `off`, or the ffmpeg to use, which has to work; if undefined, the one of the machine is used where it has one */
  ffmpegPath: string | undefined
}

/** Decorates the instance with ffmpeg, which makes posters of videos. */
export default fp<FrameExtractorOptions>(async (app, { ffmpegPath }) => {
  app.decorate('frameExtractor', ffmpegPath === 'off' ? undefined : await findFfmpeg(ffmpegPath))
}, { name: 'frame-extractor' })

/** @throws StartError if the given program cannot be used */
async function findFfmpeg (path: string | undefined): Promise<FrameExtractor | undefined> {
  const frameExtractor = new FrameExtractor(path ?? 'ffmpeg')
  const fault = await frameExtractor.findFault()
  if (fault === undefined) return frameExtractor
  if (path !== undefined) throw new StartError(`FFMPEG_PATH is ${path}, which cannot be run as ffmpeg: ${fault}`)
}
