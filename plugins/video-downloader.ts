import fp from 'fastify-plugin'
import { isReplicate, isTrustedFile } from '../services/replicate/prediction-output.ts'
import { VideoDownloader } from '../services/videos/video-download.ts'

declare module 'fastify' {
  interface FastifyInstance {
    videoDownloader: VideoDownloader
  }
}

export interface VideoDownloaderPluginOptions {
  /** the base address of Replicate's API */
  apiUrl: string
  apiToken: string
  maxBytes: number
}

/** A delivery network that sends nothing for this time is asked again. */
const idleTimeoutMs = 30_000

/** Decorates the instance with the client of Replicate's files. The token is sent to the API alone, which has some of the files. */
export default fp<VideoDownloaderPluginOptions>(async (app, { apiUrl, apiToken, maxBytes }) => {
  const api = new URL(apiUrl)
  const downloader = new VideoDownloader({
    isTrusted: (url) => isTrustedFile(url, api),
    headersFor: ({ origin }): Record<string, string> => origin === api.origin ? { authorization: `Bearer ${apiToken}` } : {},
    allowPrivate: !isReplicate(api),
    maxBytes,
    idleTimeoutMs
  })
  app.decorate('videoDownloader', downloader)
  app.addHook('onClose', () => downloader.close())
}, { name: 'video-downloader' })
