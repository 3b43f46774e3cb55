import fp from 'fastify-plugin'
import { FrameExtractor } from '../services/videos/frame-extractor.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Undefined where no ffmpeg is configured. */
    frameExtractor: FrameExtractor | undefined
  }
}

/** Decorates the instance with ffmpeg, which makes posters of videos. */
export default fp<{ ffmpegPath: string | undefined }>(async (app, { ffmpegPath }) => {
  const frameExtractor = ffmpegPath === undefined ? undefined : new FrameExtractor(ffmpegPath)
  await frameExtractor?.assertUsable()
  app.decorate('frameExtractor', frameExtractor)
}, { name: 'frame-extractor' })
