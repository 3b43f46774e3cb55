import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { open, rm, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addAbortSignal, type Readable } from 'node:stream'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import { Semaphore } from '../runtime/semaphore.ts'

/** A stored video: its format as it was found, and how to read it. */
export interface FramedVideo {
  contentType: string
  seconds: number
  /** @returns undefined if the video is gone */
  read: () => Promise<Readable | undefined>
}

const timeLimitMs = 30_000
const limits = { memoryKiB: 1_500_000, cpuSeconds: 20 }
const maxPictureBytes = 5_000_000
/** from the beginning of the video to the frame */
const maxSeconds = 5
/** The shell sets the limits and is then replaced by the program, whose path and arguments it does not interpret. */
const withLimits = `ulimit -v ${limits.memoryKiB} && ulimit -t ${limits.cpuSeconds} && exec "$0" "$@"`

/** The file descriptor of the video in the process of ffmpeg. */
const videoDescriptor = 3

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

  /** @returns why the program cannot be used; undefined if it can */
  async findFault (): Promise<string | undefined> {
    const { output, error } = await run(this.#path, ['-version'], AbortSignal.timeout(timeLimitMs))
    return output.toString().startsWith('ffmpeg version') ? undefined : error || 'it is not ffmpeg'
  }

  /**
   * @returns one frame of the video as a JPEG of at most 1280 pixels in width; undefined if ffmpeg cannot make one within its limits
   * @throws the signal's reason, or what reading the video or writing a temporary file throws
   */
  async extract ({ contentType, seconds, read }: FramedVideo, signal: AbortSignal): Promise<Buffer | undefined> {
    return await this.#turn.run(signal, async () => {
      const content = await read()
      if (content === undefined) return undefined
      const file = await openUnnamedFile()
      try {
        await file.writeFile(addAbortSignal(signal, content))
        return await this.#extractFrom(file, frameArguments(contentType, seconds), signal)
      } catch (error) {
        signal.throwIfAborted()
        throw error
      } finally {
        content.destroy()
        await file.close()
      }
    })
  }

  async #extractFrom (file: FileHandle, args: string[], signal: AbortSignal): Promise<Buffer | undefined> {
    const inTime = createDeadlineSignal(signal, timeLimitMs)
    try {
      const { output } = await run(this.#path, args, inTime.signal, file)
      signal.throwIfAborted()
      return output.length === 0 ? undefined : output
    } finally {
      inTime.dispose()
    }
  }
}

/** A file without a name disappears with the processes that have it open, also if they are killed. */
async function openUnnamedFile (): Promise<FileHandle> {
  const path = join(tmpdir(), `dreamreel-poster-${randomUUID()}`)
  const file = await open(path, 'wx+', 0o600)
  try {
    await rm(path)
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

/**
 * The first frame is often black, so this takes one a third of the way through. Everything before it is decoded, because not every file
 * has an index that can be searched.
 */
function frameArguments (contentType: string, seconds: number): string[] {
  const demuxer = contentType === 'video/webm' || contentType === 'video/x-matroska' ? 'matroska' : 'mov'
  return [
    '-nostdin', '-loglevel', 'error', '-threads', '1', '-filter_threads', '1',
    '-protocol_whitelist', 'file', '-f', demuxer, '-i', `file:/dev/fd/${videoDescriptor}`,
    '-ss', String(Math.min(seconds / 3, maxSeconds)), '-map', '0:v:0', '-frames:v', '1', '-map_metadata', '-1',
    '-vf', "scale='min(1280,iw)':-2", '-threads', '1',
    '-c:v', 'mjpeg', '-q:v', '4', '-f', 'image2pipe', 'pipe:1'
  ]
}

/** @returns what the program wrote, which is empty if it failed or was ended by a limit, and the end of what it says about the failure */
async function run (path: string, args: string[], signal: AbortSignal, file?: FileHandle): Promise<{ output: Buffer, error: string }> {
  const child = spawn('/bin/sh', ['-c', withLimits, path, ...args], {
    env: {}, stdio: ['ignore', 'pipe', 'pipe', file?.fd ?? 'ignore'], signal, killSignal: 'SIGKILL'
  })
  const chunks: Buffer[] = []
  let [bytes, error] = [0, '']
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > maxPictureBytes) child.kill('SIGKILL')
    else chunks.push(chunk)
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => { error = (error + text).slice(-300) })
  const ended = Promise.withResolvers<number | null>()
  // An aborted signal is an error of the child, too; it is killed then.
  child.on('error', (cause) => { error ||= cause.message })
  child.on('close', ended.resolve)
  const code = await ended.promise
  return { output: code === 0 ? Buffer.concat(chunks) : Buffer.alloc(0), error: error.trim() }
}
