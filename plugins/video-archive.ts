import fp from 'fastify-plugin'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { FolderArchive } from '../services/videos/folder-archive.ts'
import type { S3ArchiveOptions } from '../services/videos/s3-archive.ts'
import type { VideoArchive } from '../services/videos/video-archive.ts'

declare module 'fastify' {
  interface FastifyInstance {
    videoArchive: VideoArchive
  }
}

export interface VideoArchivePluginOptions {
  /** the bucket of an S3 server; undefined for a folder in `dataDir` */
  s3: S3ArchiveOptions | undefined
  /** `:memory:` keeps nothing: the videos are in a temporary folder until the instance closes */
  dataDir: string
  /** whether several instances can share the task store */
  isStoreShared: boolean
}

/** Decorates the instance with the archive of finished videos. */
export default fp<VideoArchivePluginOptions>(async (app, { s3, dataDir, isStoreShared }) => {
  const archive = s3 === undefined ? await openFolder() : await openBucket(s3)
  await archive.assertUsable()
  app.decorate('videoArchive', archive)
  app.addHook('onClose', async () => archive.close())

  async function openFolder (): Promise<VideoArchive> {
    if (dataDir === ':memory:') {
      const folder = await mkdtemp(join(tmpdir(), 'dreamreel-videos-'))
      app.addHook('onClose', () => rm(folder, { recursive: true, force: true }))
      return new FolderArchive(folder)
    }
    const folder = resolve(dataDir, 'videos')
    if (isStoreShared) {
      app.log.warn({ folder }, 'Videos are stored in a folder of this machine: instances on other machines find them only if they share this folder. Set S3_BUCKET to store them in a bucket instead')
    }
    return new FolderArchive(folder)
  }

  /** Imports the client of S3 only when it is used, because loading it takes a tenth of a second and 34 MB. */
  async function openBucket (options: S3ArchiveOptions): Promise<VideoArchive> {
    const { S3Archive } = await import('../services/videos/s3-archive.ts')
    return new S3Archive(options)
  }
}, { name: 'video-archive', dependencies: ['lifecycle'] })
