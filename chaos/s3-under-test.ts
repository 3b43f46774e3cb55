import {
  CreateBucketCommand, CreateMultipartUploadCommand, ListMultipartUploadsCommand, paginateListObjectsV2, PutObjectCommand, S3Client
} from '@aws-sdk/client-s3'
import { S3Server } from '../harness/s3-server.ts'
import { pause } from '../harness/until.ts'
import { createArchiveName, ownerFile } from '../services/videos/archive-name.ts'
import type { ArchiveUnderTest } from './archive-under-test.ts'
import type { Span } from './plan.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface S3UnderTestOptions {
  /** for what the service itself stores elsewhere */
  dataDir: string
  random: SeededRandom
  /** writes an event into the log */
  logEvent: (event: string) => void
}

type S3Fault = 'S3 killed' | 'S3 frozen' | 'S3 slow'
const s3Faults: S3Fault[] = ['S3 killed', 'S3 frozen', 'S3 slow']
const bucket = 'dreams'
const betweenFaultsMs: Span = [2_000, 6_000]
const faultMs: Span = [1_000, 5_000]
/** A slow server works for a short time, and then not for a longer one. */
const slowMs = { frozen: 250, thawed: 50 }

/** A real S3 server, which is killed, frozen and slow. */
export class S3UnderTest implements ArchiveUnderTest {
  readonly counts = new Map<string, number>()
  readonly env
  readonly #server
  readonly #client
  readonly #options
  readonly #closing = new AbortController()
  #injecting: Promise<void> | undefined

  private constructor (server: S3Server, client: S3Client, options: S3UnderTestOptions) {
    this.#server = server
    this.#client = client
    this.#options = options
    const { endpoint, region, credentials: { accessKeyId, secretAccessKey } } = server
    this.env = {
      DATA_DIR: options.dataDir,
      S3_BUCKET: bucket,
      S3_ENDPOINT: endpoint,
      S3_REGION: region,
      S3_ACCESS_KEY_ID: accessKeyId,
      S3_SECRET_ACCESS_KEY: secretAccessKey
    }
  }

  static async start (options: S3UnderTestOptions): Promise<S3UnderTest> {
    const server = await S3Server.start()
    const { endpoint, region, credentials } = server
    const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    return new S3UnderTest(server, client, options)
  }

  async injectFaults (signal: AbortSignal): Promise<void> {
    this.#injecting = this.#injectFaults(AbortSignal.any([signal, this.#closing.signal]))
    await this.#injecting
  }

  async plantOrphan (): Promise<void> {
    await this.#client.send(new PutObjectCommand({ Bucket: bucket, Key: createArchiveName('mp4'), Body: 'an orphan' }))
    await this.#client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: createArchiveName('mp4') }))
  }

  async listFiles (): Promise<string[]> {
    const names = []
    for await (const { Contents = [] } of paginateListObjectsV2({ client: this.#client }, { Bucket: bucket })) {
      names.push(...Contents.map(({ Key = '' }) => Key).filter((name) => name !== ownerFile))
    }
    return names
  }

  async listUnfinished (): Promise<string[]> {
    const { Uploads = [] } = await this.#client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
    return Uploads.map(({ Key = '' }) => Key)
  }

  async close (): Promise<void> {
    this.#closing.abort()
    await this.#injecting?.catch(() => undefined)
    this.#client.destroy()
    await this.#server.stop()
  }

  async #injectFaults (signal: AbortSignal): Promise<void> {
    const { random, logEvent } = this.#options
    for (let faults: S3Fault[] = []; ;) {
      if (faults.length === 0) faults = random.shuffled(s3Faults)
      await pause(random.between(...betweenFaultsMs), signal)
      const fault = faults.pop()
      if (signal.aborted || fault === undefined) return
      this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1)
      logEvent(fault)
      await this.#inject(fault, random.between(...faultMs), signal)
      logEvent('S3 works again')
    }
  }

  async #inject (fault: S3Fault, ms: number, signal: AbortSignal): Promise<void> {
    switch (fault) {
      case 'S3 killed':
        await this.#server.halt()
        await pause(ms, signal)
        return await this.#server.resume()
      case 'S3 frozen':
        return await this.#freeze(ms, signal)
      case 'S3 slow':
        for (const end = Date.now() + ms; Date.now() < end && !signal.aborted;) {
          await this.#freeze(slowMs.frozen, signal)
          await pause(slowMs.thawed, signal)
        }
    }
  }

  async #freeze (ms: number, signal: AbortSignal): Promise<void> {
    this.#server.freeze()
    await pause(ms, signal)
    this.#server.thaw()
  }
}
