import {
  AbortMultipartUploadCommand, DeleteObjectCommand, GetObjectCommand, HeadBucketCommand, HeadObjectCommand, ListMultipartUploadsCommand,
  paginateListObjectsV2, PutObjectCommand, S3Client, S3ServiceException, type GetObjectCommandInput, type ListMultipartUploadsCommandOutput, type S3ClientConfig
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { Readable } from 'node:stream'
import { StartError } from '../runtime/start-error.ts'
import { ArchiveUnavailableError, type ArchiveEntry, type ByteSpan, type StoreOptions, type VideoArchive } from './video-archive.ts'
import { isArchiveName, ownerFile } from './archive-name.ts'

export interface S3ArchiveOptions {
  bucket: string
  /** in front of each name, such as `videos/`; empty where the bucket is for this service alone */
  prefix: string
  /** the address of a server other than Amazon's */
  endpoint?: string | undefined
  region: string
  /** the usual chain of AWS (environment, files, role of the machine) where nothing is given */
  credentials?: { accessKeyId: string, secretAccessKey: string } | undefined
}

/** An upload holds at most this many parts of this size in memory. */
const uploadOptions = { partSize: 8 * 1024 * 1024, queueSize: 2 }
const timeouts = { connectionTimeout: 5_000, requestTimeout: 60_000 }

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

  constructor ({ bucket, prefix, endpoint, region, credentials }: S3ArchiveOptions) {
    this.#bucket = bucket
    this.#prefix = prefix
    const config: S3ClientConfig = {
      region,
      // The bucket as part of the path: a server on an address of one's own has no name for each bucket.
      ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
      ...(credentials !== undefined && { credentials }),
      requestHandler: timeouts,
      // Otherwise streams are sent with trailers, which servers other than Amazon's refuse.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED'
    }
    this.#client = new S3Client(config)
  }

  /** @throws StartError where the server answers that the bucket cannot be used; a server that does not answer may come back */
  async assertUsable (): Promise<void> {
    try {
      await this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket }))
    } catch (error) {
      const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode ?? 0 : 0
      if (status >= 300 && status < 500 && status !== 429) {
        throw new StartError(`The bucket ${this.#bucket} cannot be used: the server answers ${status}`, { cause: error })
      }
    }
  }

  async store (name: string, content: AsyncIterable<Uint8Array>, { contentType, signal }: StoreOptions): Promise<number> {
    const key = this.#key(name)
    const counted = new CountedContent(content, signal)
    const upload = new Upload({
      client: this.#client,
      params: { Bucket: this.#bucket, Key: key, Body: Readable.from(counted, { objectMode: false }), ContentType: contentType },
      ...uploadOptions
    })
    const abort = (): void => { upload.abort().catch(() => undefined) }
    signal.addEventListener('abort', abort, { once: true })
    this.#uploadKeys.add(key)
    try {
      await upload.done()
      return counted.bytes
    } catch (error) {
      signal.throwIfAborted()
      if (counted.error !== undefined) throw counted.error
      throw new ArchiveUnavailableError(error)
    } finally {
      signal.removeEventListener('abort', abort)
      this.#uploadKeys.delete(key)
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
      const { Body } = await this.#client.send(new GetObjectCommand({ ...object, ...(span && { Range: `bytes=${span.start}-${span.end}` }) }))
      if (!(Body instanceof Readable)) throw new Error('The answer of the S3 server has no body')
      return Body
    } catch (error) {
      if (isMissing(error)) return undefined
      throw new ArchiveUnavailableError(error)
    }
  }

  async signUrl (name: string, { expiresInSeconds, download }: { expiresInSeconds: number, download?: string | undefined }): Promise<string> {
    const input: GetObjectCommandInput = this.#object(name)
    if (download !== undefined) input.ResponseContentDisposition = `attachment; filename="${download}"`
    return getSignedUrl(this.#client, new GetObjectCommand(input), { expiresIn: expiresInSeconds })
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

  #ownerObject (): { Bucket: string, Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + ownerFile }
  }

  #object (name: string): { Bucket: string, Key: string } {
    return { Bucket: this.#bucket, Key: this.#key(name) }
  }
}

/** Remembers how many bytes went through and what the source threw: the client of S3 wraps errors of its own. */
class CountedContent implements AsyncIterable<Uint8Array> {
  #content
  #signal
  bytes = 0
  error: unknown

  constructor (content: AsyncIterable<Uint8Array>, signal: AbortSignal) {
    this.#content = content
    this.#signal = signal
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of this.#content) {
        this.#signal.throwIfAborted()
        this.bytes += chunk.length
        yield chunk
      }
    } catch (error) {
      this.error = error
      throw error
    }
  }
}

function isMissing (error: unknown): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404
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
