import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CreateMultipartUploadCommand, PutObjectCommand, UploadPartCommand,
  type CompletedPart, type S3Client
} from '@aws-sdk/client-s3'
import { ArchiveUnavailableError, type StoreOptions } from './video-archive.ts'

export interface S3Object { Bucket: string, Key: string }

/** The smallest part that S3 accepts, so that an upload holds no more than this in memory. */
const partBytes = 5 * 1024 * 1024
/** On a slow line eight parts are sent at once. A server that does not react is noticed sooner, by the client’s own limit. */
const partTimeoutMs = 300_000
const abortTimeoutMs = 5_000

/**
 * Stores an object. It is visible only after its last byte was sent: a file of less than one part is sent in one request, a larger one
 * part after part.
 * @returns the number of bytes
 * @throws ArchiveUnavailableError, the signal's reason, or what `content` throws; no part stays then unless the server is unavailable
 */
export async function uploadObject (client: S3Client, object: S3Object, content: AsyncIterable<Uint8Array>, options: StoreOptions): Promise<number> {
  const upload = new S3Upload(client, object, options)
  try {
    for await (const part of partsOf(content)) await upload.add(part)
    return await upload.complete()
  } catch (error) {
    await upload.abort()
    throw error
  }
}

class S3Upload {
  #client
  #object
  #contentType
  #signal
  #uploadId: string | undefined
  #parts: CompletedPart[] = []
  #bytes = 0

  constructor (client: S3Client, object: S3Object, { contentType, signal }: StoreOptions) {
    this.#client = client
    this.#object = object
    this.#contentType = contentType
    this.#signal = signal
  }

  /** @param part smaller than `partBytes` only if it is the last one */
  async add (part: Uint8Array): Promise<void> {
    const isWhole = this.#uploadId === undefined && part.length < partBytes
    if (isWhole) await this.#put(part)
    else await this.#upload(part)
    this.#bytes += part.length
  }

  async complete (): Promise<number> {
    if (this.#uploadId !== undefined) {
      const upload = { ...this.#object, UploadId: this.#uploadId, MultipartUpload: { Parts: this.#parts } }
      await this.#try((abortSignal) => this.#client.send(new CompleteMultipartUploadCommand(upload), { abortSignal, requestTimeout: partTimeoutMs }))
    }
    return this.#bytes
  }

  /** Removes the parts. Never rejects: the server keeps them until they are removed as unfinished where it is unavailable. */
  async abort (): Promise<void> {
    if (this.#uploadId === undefined) return
    const upload = { ...this.#object, UploadId: this.#uploadId }
    await this.#client.send(new AbortMultipartUploadCommand(upload), { abortSignal: AbortSignal.timeout(abortTimeoutMs) }).catch(() => {})
  }

  async #put (Body: Uint8Array): Promise<void> {
    const command = new PutObjectCommand({ ...this.#object, Body, ContentType: this.#contentType })
    await this.#try((abortSignal) => this.#client.send(command, { abortSignal, requestTimeout: partTimeoutMs }))
  }

  async #upload (Body: Uint8Array): Promise<void> {
    const UploadId = this.#uploadId ??= await this.#create()
    const PartNumber = this.#parts.length + 1
    const command = new UploadPartCommand({ ...this.#object, UploadId, PartNumber, Body })
    const { ETag } = await this.#try((abortSignal) => this.#client.send(command, { abortSignal, requestTimeout: partTimeoutMs }))
    this.#parts.push({ PartNumber, ETag })
  }

  async #create (): Promise<string> {
    const command = new CreateMultipartUploadCommand({ ...this.#object, ContentType: this.#contentType })
    const { UploadId } = await this.#try((abortSignal) => this.#client.send(command, { abortSignal }))
    if (UploadId === undefined) throw new ArchiveUnavailableError(new Error('The answer of the S3 server names no upload'))
    return UploadId
  }

  async #try<T> (send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#signal.throwIfAborted()
    try {
      return await send(this.#signal)
    } catch (error) {
      this.#signal.throwIfAborted()
      throw new ArchiveUnavailableError(error)
    }
  }
}

/**
 * Gathers chunks to parts of `partBytes`, the last of which may be smaller.
 * @returns parts in the same memory: each has to be sent before the next one is requested
 */
async function * partsOf (content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const part = Buffer.allocUnsafeSlow(partBytes)
  let filled = 0
  let isEmpty = true
  for await (const chunk of content) {
    for (let taken = 0; taken < chunk.length;) {
      const rest = chunk.subarray(taken, taken + partBytes - filled)
      part.set(rest, filled)
      filled += rest.length
      taken += rest.length
      if (filled < partBytes) continue
      yield part
      filled = 0
      isEmpty = false
    }
  }
  if (filled > 0 || isEmpty) yield part.subarray(0, filled)
}
