import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import { Semaphore } from '../runtime/semaphore.ts'
import { StartError } from '../runtime/start-error.ts'

/** A stored video: its format as it was found, and its content. */
export interface FramedVideo {
  contentType: string
  seconds: number
  content: Readable
}

const timeLimitMs = 30_000
const limits = { memoryKiB: 1_500_000, cpuSeconds: 20 }
const maxPictureBytes = 5_000_000
/** from the beginning of the video to the frame */
const maxSeconds = 5
/** The shell sets the limits and is then replaced by the program, whose path and arguments it does not interpret. */
const withLimits = `ulimit -v ${limits.memoryKiB} && ulimit -t ${limits.cpuSeconds} && exec "$0" "$@"`

/**
 * Makes pictures of videos with ffmpeg, one after another, each in a process of its own: without the environment of the service, with
 * limits on time and memory, and with access to files only.
 */
export class FrameExtractor {
  #path
  #turn = new Semaphore(1)

  /** @param path of ffmpeg, or its name in a standard folder such as `/usr/bin` */
  constructor (path: string) {
    this.#path = path
  }

  /** @throws StartError if the program cannot be run */
  async assertUsable (): Promise<void> {
    const { output, error } = await run(this.#path, ['-version'], AbortSignal.timeout(timeLimitMs))
    if (!output.toString().startsWith('ffmpeg version')) throw new StartError(`FFMPEG_PATH is ${this.#path}, which cannot be run as ffmpeg${error === '' ? '' : ` (${error})`}`)
  }

  /**
   * @returns one frame of the video as a JPEG of at most 1280 pixels in width; undefined if ffmpeg cannot make one within its limits
   * @throws the signal's reason, or what reading the video or writing a temporary file throws
   */
  async extract ({ contentType, seconds, content }: FramedVideo, signal: AbortSignal): Promise<Buffer | undefined> {
    try {
      return await this.#turn.run(signal, async () => {
        const folder = await mkdtemp(join(tmpdir(), 'dreamreel-poster-'))
        const inTime = createDeadlineSignal(signal, timeLimitMs)
        try {
          const file = join(folder, 'video')
          await pipeline(content, createWriteStream(file), { signal })
          const { output } = await run(this.#path, frameArguments(file, contentType, seconds), inTime.signal)
          signal.throwIfAborted()
          return output.length === 0 ? undefined : output
        } finally {
          inTime.dispose()
          await rm(folder, { recursive: true, force: true })
        }
      })
    } finally {
      content.destroy()
    }
  }
}

/**
 * The first frame is often black, so this takes one a third of the way through. Everything before it is decoded, because not every file
 * has an index that can be searched.
 */
function frameArguments (file: string, contentType: string, seconds: number): string[] {
  const demuxer = contentType === 'video/webm' || contentType === 'video/x-matroska' ? 'matroska' : 'mov'
  return [
    '-nostdin', '-loglevel', 'error', '-threads', '1', '-filter_threads', '1',
    '-protocol_whitelist', 'file', '-f', demuxer, '-i', `file:${file}`,
    '-ss', String(Math.min(seconds / 3, maxSeconds)), '-map', '0:v:0', '-frames:v', '1', '-map_metadata', '-1', '-vf', "scale='min(1280,iw)':-2", '-threads', '1',
    '-c:v', 'mjpeg', '-q:v', '4', '-f', 'image2pipe', 'pipe:1'
  ]
}

/** @returns what the program wrote, which is empty if it failed or was ended by a limit, and the end of what it says about the failure */
async function run (path: string, args: string[], signal: AbortSignal): Promise<{ output: Buffer, error: string }> {
  const child = spawn('/bin/sh', ['-c', withLimits, path, ...args], { env: {}, stdio: ['ignore', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' })
  const chunks: Buffer[] = []
  let [bytes, error] = [0, '']
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > maxPictureBytes) child.kill('SIGKILL')
    else chunks.push(chunk)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { error = (error + text).slice(-300) })
  const ended = Promise.withResolvers<number | null>()
  // An aborted signal is an error of the child, too; it is killed then.
  child.on('error', (cause) => { error ||= cause.message })
  child.on('close', ended.resolve)
  const code = await ended.promise
  return { output: code === 0 ? Buffer.concat(chunks) : Buffer.alloc(0), error: error.trim() }
}
