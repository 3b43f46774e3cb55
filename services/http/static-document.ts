import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'

/** A Content-Encoding; `identity` is the content as it is. */
export type Encoding = 'br' | 'gzip' | 'identity'

/** A document as it is sent to the clients that accept its encoding. */
export interface EncodedDocument {
  body: Buffer
  /** a strong validator, another one for each encoding */
  etag: string
}

const types: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.woff2': 'font/woff2',
  '.yaml': 'application/yaml'
}

/** Types that are compressed already. */
const compressedTypes = ['.png', '.woff2']

/** The highest quality, 11, makes a file 9 % smaller and takes ten times as long: more than 2 s for the largest script of `/docs`. */
const brotliQuality = 9

const compress = {
  br: (body: Buffer) => promisify(brotliCompress)(body, { params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality, [constants.BROTLI_PARAM_SIZE_HINT]: body.length } }),
  gzip: (body: Buffer) => promisify(gzip)(body, { level: constants.Z_BEST_COMPRESSION })
}

/**
 * A document that is the same for every client. There is one buffer of each encoding in memory, however many clients read it and however
 * slowly. It is compressed once, when a client first accepts the encoding.
 */
export class StaticDocument {
  /** the Content-Type */
  readonly type: string
  /** what clients can choose, the smallest first */
  readonly encodings: Encoding[]
  readonly #hash: string
  readonly #encoded = new Map<Encoding, Promise<EncodedDocument>>()

  /** @param extension such as `.json` */
  constructor (content: Buffer | string, extension: string) {
    const body = Buffer.from(content)
    this.type = types[extension] ?? 'application/octet-stream'
    this.encodings = compressedTypes.includes(extension) ? ['identity'] : ['br', 'gzip', 'identity']
    this.#hash = createHash('sha256').update(body).digest('base64url')
    this.#encoded.set('identity', Promise.resolve({ body, etag: `"${this.#hash}"` }))
  }

  /** @param encoding one of `encodings` */
  async encode (encoding: Encoding): Promise<EncodedDocument> {
    const identity = await this.#encoded.get('identity') as EncodedDocument
    if (encoding === 'identity') return identity
    const encoded = this.#encoded.get(encoding) ?? this.#compress(identity.body, encoding)
    return await encoded
  }

  #compress (body: Buffer, encoding: Exclude<Encoding, 'identity'>): Promise<EncodedDocument> {
    const encoded = compress[encoding](body).then((compressed) => ({ body: compressed, etag: `"${this.#hash}-${encoding}"` }))
    this.#encoded.set(encoding, encoded)
    encoded.catch(() => this.#encoded.delete(encoding))
    return encoded
  }
}

/** The files of a folder that does not change. Each file is read once, when it is first requested. */
export class StaticFiles {
  readonly #folder: URL
  readonly #files = new Map<string, Promise<StaticDocument>>()
  #names: Promise<string[]> | undefined

  /** @param folder with a slash at its end */
  constructor (folder: URL) {
    this.#folder = folder
  }

  /** @returns undefined if the folder has no such file */
  async get (name: string): Promise<StaticDocument | undefined> {
    this.#names ??= readdir(this.#folder).catch((error: unknown) => {
      this.#names = undefined
      throw error
    })
    const names = await this.#names
    return names.includes(name) ? await (this.#files.get(name) ?? this.#read(name)) : undefined
  }

  #read (name: string): Promise<StaticDocument> {
    const file = readFile(new URL(name, this.#folder)).then((content) => new StaticDocument(content, extname(name)))
    this.#files.set(name, file)
    file.catch(() => this.#files.delete(name))
    return file
  }
}
