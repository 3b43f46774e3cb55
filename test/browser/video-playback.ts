import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { VideoRenderer } from '../../replicate-emulator/video/video-renderer.ts'
import { startChromium, takePicture } from '../support/chromium.ts'
import { repeatVideo } from '../support/long-video.ts'
import { startService } from '../support/service.ts'
import { createStoredVideo } from '../support/stored-video.ts'

/** More than a browser loads ahead, so that a seek needs another request. */
const minBytes = 30_000_000

/** The service with a long video, and a browser. */
async function startWithVideo (t: Test) {
  const { app } = await startService(t, { env: { DATA_DIR: t.testdir() } })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const renderer = new VideoRenderer()
  t.teardown(() => renderer.close())
  const file = await renderer.videoFor('Photorealistic, cinematic, surreal, dreamlike visuals. A whale swims through the clouds')
  const { content, seconds } = await repeatVideo(file, Math.ceil(minBytes / file.length))
  const { name } = await createStoredVideo(app, { content })
  const browser = await startChromium(t)
  const page = await browser.newPage()
  const answers: Array<{ status: number, range: string | undefined }> = []
  page.on('response', (response) => {
    if (response.url().includes('/videos/')) answers.push({ status: response.status(), range: response.request().headers().range })
  })
  return { page, videoUrl: `${url}/videos/${name}`, seconds, bytes: content.length, answers }
}

/**
 * Plays the video of the page for a moment, and seeks.
 * @param time in seconds
 * @returns the duration, and the time of the frame that is shown at the end, in seconds
 */
async function playAndSeek (page: Page, time: number): Promise<{ duration: number, videoWidth: number, shown: number }> {
  return await page.evaluate(`(async () => {
    const video = document.querySelector('video')
    const event = (name) => new Promise((resolve, reject) => {
      video.addEventListener(name, resolve, { once: true })
      video.addEventListener('error', () => reject(new Error(video.error.message)), { once: true })
    })
    video.muted = true
    const playing = event('timeupdate')
    await video.play()
    await playing
    video.pause()
    const shown = new Promise((resolve) => {
      const see = (now, { mediaTime }) => Math.abs(mediaTime - ${time}) < 1 ? resolve(mediaTime) : video.requestVideoFrameCallback(see)
      video.requestVideoFrameCallback(see)
    })
    video.currentTime = ${time}
    return { duration: video.duration, videoWidth: video.videoWidth, shown: await shown }
  })()`)
}

/** A page of another origin with the video. */
async function openOtherSite (t: Test, page: Page, videoUrl: string): Promise<void> {
  const html = `<!doctype html><title>Another site</title><video src="${videoUrl}" crossorigin="anonymous"></video>`
  const server = createServer((_, response) => { response.setHeader('content-type', 'text/html').end(html) }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
}

t.test('a browser plays a video at its address, and seeks to its end without loading what is before', async (t) => {
  const { page, videoUrl, seconds, bytes, answers } = await startWithVideo(t)
  await page.goto(videoUrl)
  const { duration, shown } = await playAndSeek(page, seconds - 2)
  await takePicture(page, 'video')
  t.equal(Math.round(duration), seconds)
  t.ok(Math.abs(shown - (seconds - 2)) < 1, `the frame of ${shown} s is shown`)
  const ranges = answers.filter(({ range }) => range !== undefined)
  t.same(ranges.map(({ status }) => status), ranges.map(() => 206))
  const starts = ranges.map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1]))
  t.equal(starts[0], 0)
  t.ok(starts.some((start) => start > bytes * 0.9), `requests from ${starts.join(', ')} of ${bytes}`)
})

t.test('a page of another origin plays a video, seeks in it and reads its pixels', async (t) => {
  const { page, videoUrl, seconds } = await startWithVideo(t)
  await openOtherSite(t, page, videoUrl)
  const { duration, videoWidth } = await playAndSeek(page, seconds / 2)
  await takePicture(page, 'other-site')
  t.equal(Math.round(duration), seconds)
  t.equal(videoWidth, 360)
  const colours = await page.evaluate(`(() => {
    const context = Object.assign(document.createElement('canvas'), { width: 36, height: 64 }).getContext('2d')
    context.drawImage(document.querySelector('video'), 0, 0, 36, 64)
    return new Set(new Uint32Array(context.getImageData(0, 0, 36, 64).data.buffer)).size
  })()`)
  t.ok(Number(colours) > 100, `${String(colours)} colours`)
})
