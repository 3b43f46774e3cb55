import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { ended, startService } from '../support/service.ts'

const documentedUrl = 'http://127.0.0.1:3000'
const documentedId = '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21'

t.test('the first request of the README gets the responses that it shows', async (t) => {
  const { app } = await startService(t)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8')
  const [create = '', read = ''] = blocksIn(readme, 'sh').filter((block) => block.startsWith('curl'))
  const [accepted, completed] = blocksIn(readme, 'json').map((block) => JSON.parse(block))

  const created = JSON.parse(await run(create.replace(documentedUrl, url)))
  t.same(created, { ...accepted, task_id: created.task_id })
  await ended(app, created.task_id)
  const task = JSON.parse(await run(read.replace(documentedUrl, url).replace(documentedId, created.task_id)))
  t.same(Object.keys(task), Object.keys(completed))
  t.match(task, { status: completed.status, dream: completed.dream, style: completed.style, error: null })
})

t.test('each line of docs/api.md about one task or many gets a response', async (t) => {
  const { app } = await startService(t)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const response = await app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' } })
  const { task_id: taskId, revision, video_url: videoUrl } = await ended(app, response.json().task_id)
  const document = await readFile(new URL('../../docs/api.md', import.meta.url), 'utf8')
  const [one = '', video = '', many = ''] = blocksIn(document, 'sh')
  const statusesOf = async (script: string) => (await run(script.replaceAll('curl ', 'curl --silent --output /dev/null --write-out "%{http_code} " '))).trim().split(' ')

  const ownUrl = `${url}${new URL(videoUrl ?? '').pathname}`
  t.same(await statusesOf(video.replaceAll('$video_url', ownUrl).replaceAll(/ -OJ?/g, '')), ['200', '206', '200'])
  const oneTask = one.replace(documentedUrl, url).replace(documentedId, taskId).replace('"2"', `"${revision}"`)
  // The task has ended, so it cannot be canceled any more.
  t.same(await statusesOf(oneTask), ['200', '200', '304', '200', '409', '204'])
  t.same(await statusesOf(many.replace('127.0.0.1:3000', url)), ['200'])
})

function blocksIn (document: string, language: string): string[] {
  return Array.from(document.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g')), ([, code]) => String(code))
}

async function run (script: string): Promise<string> {
  return (await promisify(execFile)('sh', ['-c', script], { env: { PATH: process.env.PATH } })).stdout
}
