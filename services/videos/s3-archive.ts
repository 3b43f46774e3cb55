import {
  AbortMultipartUploadCommand, CreateMultipartUploadCommand, DeleteObjectCommand, GetObjectCommand, HeadBucketCommand, HeadObjectCommand,
  ListMultipartUploadsCommand, paginateListObjectsV2, PutObjectCommand, S3Client, S3ServiceException,
  type GetObjectCommandInput, type ListMultipartUploadsCommandOutput, type S3ClientConfig
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { Readable } from 'node:stream'
import { StartError } from '../runtime/start-error.ts'
import { createArchiveName, isArchiveName, ownerFile } from './archive-name.ts'
import { uploadObject, type S3Object } from './s3-upload.ts'
import { ArchiveUnavailableError, type ArchiveEntry, type ByteSpan, type SignOptions, type StoreOptions, type VideoArchive } from './video-archive.ts'

export interface S3ArchiveOptions {
  bucket: string
  /** in front of each name, such as `videos/`; empty where the bucket is for this service alone */
  prefix: string
  /** the address of a server other than Amazon's */
  endpoint?: string | undefined
  region: string
  /** the usual chain of AWS (environment, files, role of the machine) where nothing is given */
  credentials?: { accessKeyId: string, secretAccessKey: string } | undefined
  timeLimits?: S3TimeLimits | undefined
}

/** How long the server may take. */
export interface S3TimeLimits {
  connectMs: number
  /** from a request to the head of its answer; uploads may take longer */
  requestMs: number
  /** without a byte in either direction, also of a body that its reader does not read on */
  idleMs: number
}

const defaultLimits: S3TimeLimits = { connectMs: 5_000, requestMs: 10_000, idleMs: 60_000 }

/**
 * An archive in a bucket of Amazon S3 or of a server that speaks its protocol.
 *
 * An object is visible only when its upload is complete, so a write that died leaves at most parts that nothing can read.
 */
export class S3Archive implements VideoArchive {
  #client
  #bucket
  #prefix
  /** The keys of the uploads that are under way. */
  #uploadKeys = new Set<string>()

  constructor ({ bucket, prefix, endpoint, region, credentials, timeLimits = defaultLimits }: S3ArchiveOptions) {
    this.#bucket = bucket
    this.#prefix = prefix
    const config: S3ClientConfig = {
      region,
      // The bucket as part of the path: a server on an address of one's own has no name for each bucket.
      ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
      ...(credentials !== undefined && { credentials }),
      requestHandler: {
        connectionTimeout: timeLimits.connectMs,
        requestTimeout: timeLimits.requestMs,
        throwOnRequestTimeout: true,
        socketTimeout: timeLimits.idleMs,
        // Readers that are slow would otherwise keep everything else waiting.
        httpAgent: { maxSockets: Infinity },
        httpsAgent: { maxSockets: Infinity }
      },
      // Otherwise streams are sent with trailers, which servers other than Amazon's refuse.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED'
    }
    this.#client = new S3Client(config)
  }

  async assertUsable (): Promise<void> {
    const object = this.#object(createArchiveName('mp4'))
    try {
      await this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket }))
      // Needs the right to write, and leaves nothing that can be read.
      const { UploadId } = await this.#client.send(new CreateMultipartUploadCommand(object))
      await this.#client.send(new AbortMultipartUploadCommand({ ...object, UploadId }))
    } catch (error) {
      const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode ?? 0 : 0
      if (status >= 300 && status < 500 && status !== 429) {
        throw new StartError(`The bucket ${this.#bucket} cannot be used: the server answers ${status}`, { cause: error })
      }
    }
  }

  async store (name: string, content: AsyncIterable<Uint8Array>, options: StoreOptions): Promise<number> {
    const object = this.#object(name)
    this.#uploadKeys.add(object.Key)
    try {
      return await uploadObject(this.#client, object, content, options)
    } finally {
      this.#uploadKeys.delete(object.Key)
    }
  }

  async find (name: string): Promise<ArchiveEntry | undefined> {
    const object = this.#object(name)
    try {
      const { ContentLength = 0, LastModified } = await this.#client.send(new HeadObjectCommand(object))
      return { name, bytes: ContentLength, modifiedAt: LastModified?.getTime() ?? 0 }
    } catch (error) {
      if (isMissing(error)) return undefined
      throw new ArchiveUnavailableError(error)
    }
  }

  async read (name: string, span?: ByteSpan): Promise<Readable | undefined> {
    const object = this.#object(name)
    try {
      const { Body, ContentLength } = await this.#client.send(new GetObjectCommand({ ...object, ...(span && { Range: `bytes=${span.start}-${span.end}` }) }))
      if (!(Body instanceof Readable)) throw new Error('The answer of the S3 server has no body')
      if (span !== undefined && ContentLength !== span.end - span.start + 1) {
        Body.on('error', () => {}).destroy()
        throw new Error(`The S3 server sends ${ContentLength} bytes of the span ${span.start}-${span.end}`)
      }
      // Without this a connection that breaks before the caller listens would end the process.
      return Body.on('error', () => {})
    } catch (error) {
      if (isMissing(error)) return undefined
      throw new ArchiveUnavailableError(error)
    }
  }

  async signUrl (name: string, { method, expiresInSeconds, download }: SignOptions): Promise<string> {
    const input: GetObjectCommandInput = this.#object(name)
    if (download !== undefined) input.ResponseContentDisposition = `attachment; filename="${download}"`
    const command = method === 'HEAD' ? new HeadObjectCommand(input) : new GetObjectCommand(input)
    return getSignedUrl(this.#client, command, { expiresIn: expiresInSeconds })
  }

  async remove (name: string): Promise<void> {
    const object = this.#object(name)
    await ignoreMissing(() => this.#client.send(new DeleteObjectCommand(object)))
  }

  async * list (): AsyncGenerator<ArchiveEntry> {
    try {
      for await (const { Contents = [] } of paginateListObjectsV2({ client: this.#client }, { Bucket: this.#bucket, Prefix: this.#prefix })) {
        for (const { Key = '', Size = 0, LastModified } of Contents) {
          const name = Key.slice(this.#prefix.length)
          if (isArchiveName(name)) yield { name, bytes: Size, modifiedAt: LastModified?.getTime() ?? 0 }
        }
      }
    } catch (error) {
      throw new ArchiveUnavailableError(error)
    }
  }

  async removeUnfinished (before: number): Promise<number> {
    let removed = 0
    for await (const { Key = '', UploadId, Initiated } of this.#uploads()) {
      const isUnderWay = (Initiated?.getTime() ?? before) >= before || this.#uploadKeys.has(Key)
      if (!isArchiveName(Key.slice(this.#prefix.length)) || isUnderWay) continue
      await ignoreMissing(() => this.#client.send(new AbortMultipartUploadCommand({ Bucket: this.#bucket, Key, UploadId })))
      removed++
    }
    return removed
  }

  async readOwner (): Promise<string | undefined> {
    try {
      const { Body } = await this.#client.send(new GetObjectCommand(this.#ownerObject()))
      return (await Body?.transformToString())?.trim()
    } catch (error) {
      if (isMissing(error)) return undefined
      throw new ArchiveUnavailableError(error)
    }
  }

  async writeOwner (storeId: string): Promise<void> {
    await unavailableUnless(() => this.#client.send(new PutObjectCommand({ ...this.#ownerObject(), Body: `${storeId}\n`, ContentType: 'text/plain' })))
  }

  close (): void {
    this.#client.destroy()
  }

  async * #uploads () {
    let marker: { KeyMarker?: string | undefined, UploadIdMarker?: string | undefined } = {}
    for (let isLast = false; !isLast;) {
      const page: ListMultipartUploadsCommandOutput = await unavailableUnless(() => this.#client.send(
        new ListMultipartUploadsCommand({ Bucket: this.#bucket, Prefix: this.#prefix, ...marker })))
      yield * page.Uploads ?? []
      isLast = page.IsTruncated !== true
      marker = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
    }
  }

  #key (name: string): string {
    if (!isArchiveName(name)) throw new Error(`${JSON.stringify(name)} is not the name of a video`)
    return this.#prefix + name
  }

  #ownerObject (): S3Object {
    return { Bucket: this.#bucket, Key: this.#prefix + ownerFile }
  }

  #object (name: string): S3Object {
    return { Bucket: this.#bucket, Key: this.#key(name) }
  }
}

/** A bucket that is missing is not a missing object. */
function isMissing (error: unknown): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404 && error.name !== 'NoSuchBucket'
}

async function unavailableUnless<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new ArchiveUnavailableError(error)
  }
}

/** Removing what is not there is no error: S3 itself answers 204, some other servers 404. */
async function ignoreMissing (work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isMissing(error)) throw new ArchiveUnavailableError(error)
  }
}
