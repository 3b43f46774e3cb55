import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { extname } from 'node:path'

/** A document that is the same for every client. There is one buffer in memory, however many clients read it and however slowly. */
export interface StaticDocument {
  body: Buffer
  /** the Content-Type */
  type: string
  etag: string
}

const types: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.yaml': 'application/yaml'
}

/** @param extension such as `.json` */
export function createStaticDocument (content: Buffer | string, extension: string): StaticDocument {
  const body = Buffer.from(content)
  return {
    body,
    type: types[extension] ?? 'application/octet-stream',
    etag: `"${createHash('sha256').update(body).digest('base64url')}"`
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
    const file = readFile(new URL(name, this.#folder)).then((content) => createStaticDocument(content, extname(name)))
    this.#files.set(name, file)
    file.catch(() => this.#files.delete(name))
    return file
  }
}
