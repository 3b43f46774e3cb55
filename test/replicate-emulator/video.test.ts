import t from 'tap'
import { childBoxes, readBoxes, type Box } from '../../replicate-emulator/video/mp4-boxes.ts'
import { bodyOf, runningEmulator } from './running-emulator.ts'

const prompts = [
  'Photorealistic, cinematic, surreal, dreamlike visuals. a whale 🐳',
  'Beautiful, cute, Japanese animation woodblock style. 空を飛ぶクジラ',
  'Dark, unsettling, surreal, uncanny valley, hallucinogenic visuals. حوت يطير'
]

function inside (box: Box | undefined, ...path: string[]): Box | undefined {
  return path.reduce<Box | undefined>((parent, type) => parent && childBoxes(parent).find((child) => child.type === type), box)
}

t.test('each style has its own video: MP4, H.264, portrait, four seconds, the index first', async (t) => {
  const { create, get } = await runningEmulator(t, { generationMs: 0 })
  const tags = new Set()
  for (const prompt of prompts) {
    const { id } = await bodyOf(await create({ input: { prompt } }))
    const response = await get(`/files/${id}/output.mp4`)
    const boxes = readBoxes(Buffer.from(await response.arrayBuffer()))
    tags.add(response.headers.get('etag'))
    t.same(boxes.map(({ type }) => type), ['ftyp', 'moov', 'mdat', 'free'])
    const header = inside(boxes[1], 'mvhd')?.bytes
    t.equal((header?.readUInt32BE(24) ?? 0) / (header?.readUInt32BE(20) ?? 1), 4, 'seconds')
    const description = inside(boxes[1], 'trak', 'mdia', 'minf', 'stbl', 'stsd')?.bytes
    t.equal(description?.toString('latin1', 20, 24), 'avc1')
    t.same([description?.readUInt16BE(48), description?.readUInt16BE(50)], [360, 640])
    const chunk = inside(boxes[1], 'trak', 'mdia', 'minf', 'stbl', 'stco')?.bytes.readUInt32BE(16) ?? 0
    const mdatStart = (boxes[0]?.bytes.length ?? 0) + (boxes[1]?.bytes.length ?? 0)
    t.ok(chunk >= mdatStart + 8, 'the first picture lies inside mdat')
  }
  t.equal(tags.size, 3)
})

t.test('a file answers ranges, HEAD and conditions', async (t) => {
  const { create, get, origin } = await runningEmulator(t, { generationMs: 0 })
  const { id } = await bodyOf(await create())
  const path = `/files/${id}/output.mp4`
  const whole = await get(path)
  const bytes = Buffer.from(await whole.arrayBuffer())
  t.match(Object.fromEntries(whole.headers), { 'content-type': 'video/mp4', 'accept-ranges': 'bytes', 'content-length': String(bytes.length) })
  const ranged = async (range: string, headers = {}) => {
    const response = await get(path, { range, ...headers })
    return { status: response.status, range: response.headers.get('content-range'), bytes: Buffer.from(await response.arrayBuffer()) }
  }
  t.same(await ranged('bytes=0-1'), { status: 206, range: `bytes 0-1/${bytes.length}`, bytes: bytes.subarray(0, 2) })
  t.same((await ranged('bytes=-5')).bytes, bytes.subarray(-5))
  t.same((await ranged('bytes=100-')).bytes, bytes.subarray(100))
  t.match(await ranged(`bytes=${bytes.length}-`), { status: 416, range: `bytes */${bytes.length}` })
  t.equal((await ranged('bytes=0-1', { 'if-range': '"other"' })).status, 200)
  t.equal((await get(path, { 'if-none-match': whole.headers.get('etag') ?? '' })).status, 304)
  const head = await fetch(origin + path, { method: 'HEAD' })
  t.equal(head.headers.get('content-length'), String(bytes.length))
})
