import t from 'tap'
import { fileSources, readConfig } from '../../config.ts'
import { ended, postDream, startService } from '../support/service.ts'

/** The directives of a Content-Security-Policy, by their names. */
function parsePolicy (header: unknown): Record<string, string> {
  return Object.fromEntries(String(header).split(';').map((part) => [part.split(' ')[0], part.split(' ').slice(1).join(' ')]))
}

t.test('the page at /docs may use what it needs, and cannot be framed', async (t) => {
  const { app } = await startService(t, { env: { PUBLIC_URL: 'https://dreams.example/base' } })
  for (const url of ['/docs', '/docs/', '/docs/static/swagger-ui-bundle.js', '/docs/static/none.js']) {
    const { headers } = await app.inject(url)
    t.same(parsePolicy(headers['content-security-policy']), {
      'default-src': "'none'",
      'script-src': "'self'",
      'style-src': "'self' 'unsafe-inline'",
      'font-src': "'self'",
      'img-src': "'self' data: blob: https://dreams.example",
      'media-src': "'self' blob: https://dreams.example",
      'connect-src': "'self' https://dreams.example",
      'manifest-src': "'self'",
      'form-action': "'self'",
      'base-uri': "'none'",
      'frame-ancestors': "'none'"
    }, url)
    t.match(headers, { 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff', 'cross-origin-resource-policy': 'same-origin' })
    t.notOk('strict-transport-security' in headers, 'the service speaks HTTP')
  }
})

t.test('no answer can be taken for something else, and those that are no page have no other of these headers', async (t) => {
  const { app } = await startService(t)
  const id = await postDream(app)
  const { video_url: videoUrl } = await ended(app, id)
  const requests = [
    { url: `/video-status/${id}` }, { url: '/video-status' }, { url: '/openapi.json' }, { url: '/livez' }, { url: '/nowhere' }, { url: '/%' },
    { url: new URL(videoUrl ?? '').pathname }, { method: 'POST' as const, url: '/generate-video?dream=x&style=Cursed' }
  ]
  for (const request of requests) {
    const { headers } = await app.inject(request)
    t.equal(headers['x-content-type-options'], 'nosniff', request.url)
    t.notOk('content-security-policy' in headers || 'x-frame-options' in headers, request.url)
  }
  t.match((await app.inject(new URL(videoUrl ?? '').pathname)).headers, { 'cross-origin-resource-policy': 'cross-origin' }, 'pages of any site may show it')
})

t.test('pages show files from where browsers find them', async (t) => {
  const sources = (env: Record<string, string>) => fileSources(readConfig({ REPLICATE_API_TOKEN: 'x', ...env }))
  const bucket = { S3_BUCKET: 'videos', VIDEO_DELIVERY: 'redirect' }
  t.same(sources({}), [])
  t.same(sources({ PUBLIC_URL: 'https://dreams.example:8443/base' }), ['https://dreams.example:8443'])
  t.same(sources({ ...bucket, VIDEO_DELIVERY: 'proxy' }), [])
  t.same(sources(bucket), ['https:'])
  t.same(sources({ ...bucket, S3_ENDPOINT: 'http://127.0.0.1:9000/', PUBLIC_URL: 'https://dreams.example' }), ['https://dreams.example', 'http://127.0.0.1:9000'])
})
