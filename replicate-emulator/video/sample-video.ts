import { readFile } from 'node:fs/promises'

/** Where the pictures of the predictions come from. */
export interface VideoSource {
  /** @returns an MP4 file, H.264, portrait, four seconds; always the same bytes for a prompt */
  videoFor: (prompt: string) => Promise<Buffer>
  /** @returns the first frame of the video as a JPEG */
  imageFor: (prompt: string) => Promise<Buffer>
  close: () => Promise<void>
}

/** The same still picture for every prompt. It was encoded once, because rendering a video takes a second of CPU time. */
export class SampleVideo implements VideoSource {
  #video: Promise<Buffer> | undefined
  #image: Promise<Buffer> | undefined

  videoFor (): Promise<Buffer> {
    this.#video ??= readSample('sample.mp4')
    return this.#video
  }

  imageFor (): Promise<Buffer> {
    this.#image ??= readSample('sample.jpg')
    return this.#image
  }

  async close (): Promise<void> {}
}

function readSample (name: string): Promise<Buffer> {
  return readFile(new URL(name, import.meta.url))
}
