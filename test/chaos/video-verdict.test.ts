import t from 'tap'
import type { PaidPrediction } from '../../chaos/paid-in-vain.ts'
import type { ServedFile } from '../../chaos/served-files.ts'
import { describeEnds } from '../../chaos/task-ends.ts'
import { judgeVideos } from '../../chaos/video-verdict.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'

interface Case {
  /** The answer of the video's address, or the error code of a failed task. */
  task?: Partial<ServedFile> | string
  prediction?: Partial<PaidPrediction>
  /** one of another client */
  foreign?: Partial<PaidPrediction>
  poster?: Partial<ServedFile>
  files?: string[]
  unfinished?: string[]
}

const id = '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21'

/** The findings about a task of one dream, whose prediction has the file `sum`. */
function findings ({ task = {}, prediction = {}, foreign, poster, files = ['video.mp4'], unfinished = [] }: Case): string[] {
  const isFailed = typeof task === 'string'
  // The boundary: only the members that are read.
  const tasks = [{
    task_id: id,
    dream: '[dream u1] a whale',
    status: isFailed ? 'failed' : 'completed',
    error_code: isFailed ? task : null,
    video_url: isFailed ? null : 'http://127.0.0.1/videos/video.mp4',
    poster_url: poster === undefined ? null : 'http://127.0.0.1/videos/poster.jpg'
  }] as TaskView[]
  const videos = new Map(isFailed ? [] : [[id, { status: 200, type: 'video/mp4', sha256: 'sum', ...task }]])
  const posters = new Map(poster === undefined ? [] : [[id, { status: 200, type: 'image/jpeg', sha256: '', ...poster }]])
  const video: PaidPrediction = { id: 'a', key: 'u1', isForeign: false, hasWebhook: false, output: 'video', isWiped: false, isPaid: true, history: '' }
  const predictions = [{ ...video, ...prediction }, ...(foreign === undefined ? [] : [{ ...video, id: 'b', isForeign: true, ...foreign }])]
  const ends = describeEnds(tasks, videos, new Map([['sum', 'a']]))
  return judgeVideos({ tasks, ends, videos, posters, predictions, files, unfinished }).filter(({ affected }) => affected.length > 0).map(({ what }) => what)
}

t.test('nothing is found if the address serves the file of the prediction from the archive', async (t) => {
  t.same(findings({}), [])
  t.same(findings({ poster: {}, files: ['video.mp4', 'poster.jpg'] }), [])
})

t.test('other bytes, no answer and the file of a prediction without a video are found', async (t) => {
  t.same(findings({ task: { sha256: 'other' } }), ['video address that serves no prediction’s video'])
  for (const status of [0, 404, 503]) t.same(findings({ task: { status } }), ['video address that serves no prediction’s video'])
  t.same(findings({ prediction: { output: 'no video' } }), ['video address that serves no prediction’s video'])
})

t.test('a video may be lost only if it was wiped', async (t) => {
  for (const task of [{ status: 410 }, 'storage_failed']) {
    t.same(findings({ task, files: [] }), ['video lost that Replicate had kept'])
    t.same(findings({ task, files: [], prediction: { isWiped: true } }), [])
    t.same(findings({ task, files: [], prediction: { output: 'nothing', isWiped: true } }), ['video lost that Replicate had kept'])
  }
})

t.test('a file that is no video ends its task with no_output', async (t) => {
  const prediction = { output: 'no video' } as const
  for (const task of ['no_output', 'canceled', 'deadline_exceeded']) t.same(findings({ task, files: [], prediction }), [])
  t.same(findings({ task: 'provider_error', files: [], prediction }), ['file that is no video with another end than no_output'])
  t.same(findings({ foreign: prediction }), [], 'it is not known whose video the task tried to get')
  t.same(findings({ task: 'no_output', files: [], foreign: prediction }), [])
  t.same(findings({ task: 'no_output', files: [] }), ['task without an output whose prediction had one'])
  t.same(findings({ task: 'no_output', files: [], prediction: { isWiped: true } }), [])
})

t.test('the archive has the files of the tasks and nothing else', async (t) => {
  t.same(findings({ files: [] }), ['video that is not in the archive'])
  t.same(findings({ files: ['video.mp4', 'orphan.mp4'] }), ['file in the archive without a task'])
  t.same(findings({ unfinished: ['x'] }), ['unfinished write in the archive'])
  t.same(findings({ poster: { status: 404 }, files: ['video.mp4'] }), ['poster that is no image'])
  t.same(findings({ poster: { type: 'text/html' }, files: ['video.mp4', 'poster.jpg'] }), ['poster that is no image'])
})
