import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { until } from '../../harness/until.ts'
import { FrameExtractor } from '../../services/videos/frame-extractor.ts'
import { ended, postDream, startService, statusOf, testEnvironment } from '../support/service.ts'

const sampleVideo = new URL('../../replicate-emulator/video/sample.mp4', import.meta.url)
const video = { contentType: 'video/mp4', seconds: 3, read: async () => createReadStream(sampleVideo) }

/** Sets variables of this process until the test ends. */
function setVariables (t: Test, variables: Record<string, string>): void {
  for (const [name, value] of Object.entries(variables)) {
    const before = process.env[name]
    process.env[name] = value
    t.teardown(() => {
      if (before === undefined) delete process.env[name]
      else process.env[name] = before
    })
  }
}

/** A program that stands for ffmpeg. */
async function createProgram (t: Test, script: string): Promise<string> {
  const path = join(t.testdir(), 'ffmpeg')
  await writeFile(path, `#!/bin/sh\n[ "$1" = -version ] && echo 'ffmpeg version 0' && exit\n${script}\n`)
  await chmod(path, 0o755)
  return path
}

async function completed (t: Test, env: Record<string, string>) {
  const service = await startService(t, { env })
  const taskId = await postDream(service.app)
  await ended(service.app, taskId)
  await until(async () => (await service.app.taskStore.get(taskId))?.videoWork === null || undefined, 'the poster to be made or given up')
  return { ...service, task: await statusOf(service.app, taskId) }
}

t.test('a video whose model gives no picture has one of its frames as its poster', async (t) => {
  const { app, task } = await completed(t, { FFMPEG_PATH: 'ffmpeg' })
  t.match(task, { status: 'completed', poster_url: /\/videos\/[\w-]{22}\.jpg$/ })
  const response = await app.inject(new URL(task.poster_url ?? '').pathname)
  t.match({ ...response.headers, status: response.statusCode }, { status: 200, 'content-type': 'image/jpeg' })
  const file = join(t.testdir(), 'poster.jpg')
  await writeFile(file, response.rawPayload)
  const { stdout } = await promisify(execFile)('ffprobe', ['-v', 'error', '-show_entries', 'stream=codec_name,width', '-of', 'csv=p=0', file])
  t.match(stdout, /^mjpeg,\d+\n$/)
})

t.test('without ffmpeg, or where it fails, a task has no poster and is completed all the same', async (t) => {
  t.match((await completed(t, { FFMPEG_PATH: 'off' })).task, { status: 'completed', poster_url: null })
  t.match((await completed(t, { FFMPEG_PATH: await createProgram(t, 'exit 1') })).task, { status: 'completed', poster_url: null })
})

t.test('ffmpeg has no environment, limits on memory and time, and a file without a name', async (t) => {
  const temporary = t.testdir({ folder: {} })
  const path = await createProgram(t, `{ env; ulimit -v; ulimit -t; echo "$@"; ls ${join(temporary, 'folder')}; cksum < /dev/fd/3; } > ${join(temporary, 'seen')}; printf picture`)
  await mkdir(join(temporary, 'folder'))
  setVariables(t, { A_SECRET_SETTING: 'x', TMPDIR: join(temporary, 'folder') })
  t.equal((await new FrameExtractor(path).extract(video, new AbortController().signal))?.toString(), 'picture')
  const seen = await readFile(join(temporary, 'seen'), 'utf8')
  t.notMatch(seen, 'A_SECRET_SETTING')
  t.match(seen, /\n1500000\n20\n-nostdin .* -protocol_whitelist file -f mov -i file:\/dev\/fd\/3 .*\n\d+ \d+\n$/, 'and nothing is in the folder of temporary files')
  t.match(seen, `${(await stat(sampleVideo)).size}\n`, 'it reads the whole video')
})

t.test('ffmpeg is killed when it writes without an end, and when the instance stops', async (t) => {
  const { signal } = new AbortController()
  t.equal(await new FrameExtractor(await createProgram(t, 'exec cat /dev/zero')).extract(video, signal), undefined)
  const path = await createProgram(t, 'exit 0')
  const folder = join(dirname(path), 'process')
  await mkdir(folder)
  const stopping = new AbortController()
  await writeFile(path, `#!/bin/sh\necho > ${folder}/$$\nexec sleep 600\n`)
  const extracting = new FrameExtractor(path).extract(video, stopping.signal)
  const pid = await until(async () => (await readdir(folder))[0], 'the program to run')
  stopping.abort(new Error('stopping'))
  await t.rejects(extracting, { message: 'stopping' })
  t.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' })
})

t.test('the ffmpeg of the machine is used unless that is turned off', async (t) => {
  const extractorOf = async (env: Record<string, string>) => (await startService(t, { env })).app.frameExtractor
  const { FFMPEG_PATH: _, ...environment } = testEnvironment
  const app = await buildApp(readConfig(environment), { logStream: { write: () => {} } })
  t.teardown(() => app.close())
  await app.ready()
  t.not(app.frameExtractor, undefined)
  t.equal(await extractorOf({ FFMPEG_PATH: 'off' }), undefined)
})

t.test('the service does not start with an FFMPEG_PATH that is no ffmpeg', async (t) => {
  for (const path of ['/nowhere/ffmpeg', '/bin/echo']) {
    await t.rejects(startService(t, { env: { FFMPEG_PATH: path } }), { name: 'StartError', message: new RegExp(`^FFMPEG_PATH is ${path}, which cannot be run as ffmpeg`) })
  }
})
