import t from 'tap'
import { findVideo } from '../../services/replicate/prediction-output.ts'

const replicate = 'https://api.replicate.com/v1'
const emulator = 'http://127.0.0.1:4000/v1'
const video = 'https://replicate.delivery/xezq/abc/output.mp4'

t.test('a video is found in an output of any shape', async (t) => {
  const shapes = {
    string: video,
    array: [video],
    object: { mp4: video },
    'an object with other names': { anything: video, seed: 7, ok: true, none: null },
    nested: { output: { files: [{ url: video }] } },
    'text and addresses': ['a whale', video]
  }
  for (const [name, output] of Object.entries(shapes)) t.same(findVideo(output, replicate), { found: 'video', url: video }, name)
})

t.test('the best kind of video is preferred, of the same kind the first', async (t) => {
  const at = (name: string) => `https://replicate.delivery/${name}`
  const best = (...names: string[]) => findVideo(names.map(at), replicate)
  t.same(best('a', 'b.mov', 'c.webm', 'd.mp4', 'e.mp4'), { found: 'video', url: at('d.mp4') })
  t.same(best('a', 'b.mov', 'c.webm'), { found: 'video', url: at('c.webm') })
  t.same(best('a', 'b.mov'), { found: 'video', url: at('b.mov') })
  t.same(best('a', 'b'), { found: 'video', url: at('a') })
  t.same(best('thumb.png', 'a.MP4?x=.png'), { found: 'video', url: at('a.MP4?x=.png') })
})

t.test('a file of another kind is no video', async (t) => {
  for (const ending of ['png', 'jpg', 'jpeg', 'webp', 'gif', 'wav', 'mp3', 'json', 'txt', 'PNG']) {
    t.same(findVideo([`https://replicate.delivery/a.${ending}`], replicate), { found: 'nothing' }, ending)
    t.same(findVideo([`https://evil.example/a.${ending}`], replicate), { found: 'nothing' }, `foreign ${ending}`)
  }
  const data = 'data:video/mp4;base64,AAAA'
  for (const output of [null, undefined, '', 'A whale', 7, true, [], {}, [[[]]], data, { mp4: data }, 'file:///etc/passwd',
    'ftp://replicate.delivery/a.mp4', '//replicate.delivery/a.mp4', 'https://', 'javascript:alert(1)']) {
    t.same(findVideo(output, replicate), { found: 'nothing' }, JSON.stringify(output))
  }
})

t.test('files of Replicate’s own hosts are trusted', async (t) => {
  for (const url of ['https://replicate.delivery/a.mp4', 'https://pbxt.replicate.delivery/a.mp4', 'https://a.b.replicate.delivery/a',
    'https://api.replicate.com/v1/files/abc/download', 'https://replicate.delivery:443/a.mp4', 'HTTPS://REPLICATE.DELIVERY/a.mp4',
    ' https://replicate.delivery/a.mp4\n', 'https://repli\tcate.delivery/a.mp4']) {
    for (const api of [replicate, emulator]) t.same(findVideo(url, api), { found: 'video', url: new URL(url).href }, url)
  }
})

t.test('files of any other host are not trusted', async (t) => {
  for (const url of [
    'http://replicate.delivery/a.mp4',
    'https://replicate.delivery:8443/a.mp4',
    'https://replicate.delivery.evil.com/a.mp4',
    'https://evilreplicate.delivery/a.mp4',
    'https://replicate.delivery@evil.com/a.mp4',
    'https://user:pass@replicate.delivery/a.mp4',
    'https://user@replicate.delivery/a.mp4',
    'https://replicate.delivery./a.mp4',
    'https://.replicate.delivery./a.mp4',
    'https://evil.com/replicate.delivery/a.mp4',
    'https://evil.com#.replicate.delivery/a.mp4',
    'https://evil.com\\.replicate.delivery/a.mp4',
    'https://xn--replicate-0ub.delivery/a.mp4',
    'https://replicаte.delivery/a.mp4', // with a Cyrillic а
    'https://api.replicate.com/v1/predictions/abc',
    'https://api.replicate.com/v1/files/../predictions/abc',
    'https://api.replicate.com/v1/files/%2e%2e/account',
    'https://api.replicate.com/v1/files/',
    'https://api.replicate.com.evil.com/v1/files/abc',
    'https://api.replicate.com:8443/v1/files/abc',
    'https://169.254.169.254/latest/meta-data',
    'http://127.0.0.1:4000/files/a.mp4'
  ]) t.same(findVideo(url, replicate), { found: 'untrusted', url: new URL(url).href }, url)
})

t.test('files of another API are trusted from exactly its origin', async (t) => {
  const url = 'http://127.0.0.1:4000/files/a.mp4'
  t.same(findVideo(url, emulator), { found: 'video', url })
  for (const foreign of ['http://127.0.0.1:4001/files/a.mp4', 'https://127.0.0.1:4000/files/a.mp4', 'http://127.0.0.1/files/a.mp4',
    'http://localhost:4000/files/a.mp4', 'http://user@127.0.0.1:4000/files/a.mp4']) {
    t.same(findVideo(foreign, emulator), { found: 'untrusted', url: foreign }, foreign)
  }
})

t.test('a trusted video is preferred to an untrusted one of a better kind', async (t) => {
  t.same(findVideo(['https://evil.example/a.mp4', 'https://replicate.delivery/b'], replicate),
    { found: 'video', url: 'https://replicate.delivery/b' })
})

t.test('the search and its finds are bounded', async (t) => {
  const deep = Array.from({ length: 50 }).reduce<unknown>((inner) => [inner], video)
  t.same(findVideo(deep, replicate), { found: 'nothing' })
  t.same(findVideo([...Array.from({ length: 5_000 }, () => 'x'), video], replicate), { found: 'nothing' })
  t.same(findVideo(`https://replicate.delivery/${'a'.repeat(2_048)}`, replicate), { found: 'nothing' })
  t.same(findVideo(`https://replicate.delivery/${'é'.repeat(1_000)}`, replicate), { found: 'nothing' }, 'as it is when normalised')
})
