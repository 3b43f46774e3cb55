import type { TaskView } from '../services/tasks/task-view.ts'
import type { PaidPrediction } from './paid-in-vain.ts'
import type { ServedFile } from './served-files.ts'
import type { TaskEnd } from './task-ends.ts'
import type { Finding } from './verdict.ts'

export interface VideoEvidence {
  /** Every task of the service, also those whose id no client has received. */
  tasks: TaskView[]
  ends: TaskEnd[]
  /** What the addresses of the tasks serve, by their ids, after Replicate has removed all of its files. */
  videos: Map<string, ServedFile>
  posters: Map<string, ServedFile>
  predictions: PaidPrediction[]
  /** The names of the files in the archive, and of what interrupted writes have left there. */
  files: string[]
  unfinished: string[]
}

/** Compares what the addresses of the tasks serve with what Replicate made, and with what is in the archive. */
export function judgeVideos ({ tasks, ends, videos, posters, predictions, files, unfinished }: VideoEvidence): Finding[] {
  const named = namedFiles(tasks)
  return [
    { what: 'video address that serves no prediction’s video', affected: ends.filter((end) => servesUnknownBytes(end, videos, predictions)).map(({ id }) => `${id} ${describe(videos.get(id))}`) },
    { what: 'video lost that Replicate had kept', affected: dreamsWith(ends, predictions, lostForNothing) },
    { what: 'task without an output whose prediction had one', affected: dreamsWith(ends, predictions, emptyForNothing) },
    { what: 'file that is no video with another end than no_output', affected: dreamsWith(ends, predictions, hasWrongEnd) },
    { what: 'poster that is no image', affected: [...posters].filter(([, { status, type }]) => status !== 200 || type?.startsWith('image/') !== true).map(([id, poster]) => `${id} ${describe(poster)}`) },
    { what: 'video that is not in the archive', affected: ends.filter(({ given }) => given !== undefined).filter(({ id }) => !hasFile(id, tasks, files)).map(({ id }) => id) },
    { what: 'file in the archive without a task', affected: files.filter((name) => !named.has(name)) },
    { what: 'unfinished write in the archive', affected: unfinished }
  ]
}

/** The names of the files that tasks name. A video that was lost has none. */
export function namedFiles (tasks: TaskView[]): Set<string> {
  return new Set(tasks.flatMap(({ video_url: video, poster_url: poster }) => [fileName(video), fileName(poster)].filter((name) => name !== undefined)))
}

export function fileName (address: string | null): string | undefined {
  return address?.split('/').at(-1)
}

function hasFile (id: string, tasks: TaskView[], files: string[]): boolean {
  const name = fileName(tasks.find(({ task_id: taskId }) => taskId === id)?.video_url ?? null)
  return name !== undefined && files.includes(name)
}

function describe (file: ServedFile | undefined): string {
  return JSON.stringify(file)
}

/** The only other answer that is allowed is that the video is gone. */
function servesUnknownBytes ({ id, given, isVideoLost }: TaskEnd, videos: Map<string, ServedFile>, predictions: PaidPrediction[]): boolean {
  if (!videos.has(id) || isVideoLost) return false
  return given === undefined || predictions.find((prediction) => prediction.id === given)?.output !== 'video'
}

type Check = (ends: TaskEnd[], predictions: PaidPrediction[]) => boolean

/** The keys of the dreams whose tasks and unused predictions fail a check, with both. */
function dreamsWith (ends: TaskEnd[], predictions: PaidPrediction[], check: Check): string[] {
  const given = new Set(ends.map((end) => end.given))
  const byKey = Map.groupBy(predictions.filter(({ id }) => !given.has(id)), ({ key }) => key)
  return [...Map.groupBy(ends, ({ key }) => key)].flatMap(([key, alike]) => {
    const unused = byKey.get(key) ?? []
    return check(alike, unused) ? [`${key}: tasks ${JSON.stringify(alike)}, unused predictions ${JSON.stringify(unused)}`] : []
  })
}

function lostForNothing (ends: TaskEnd[], unused: PaidPrediction[]): boolean {
  const lost = ends.filter(({ error, isVideoLost }) => isVideoLost || error === 'storage_failed').length
  return lost > unused.filter(({ output, isWiped }) => output !== 'nothing' && isWiped).length
}

function emptyForNothing (ends: TaskEnd[], unused: PaidPrediction[]): boolean {
  const empty = ends.filter(({ error }) => error === 'no_output').length
  return empty > unused.filter(({ output, isWiped }) => output !== 'video' || isWiped).length
}

/** Of a dream with one task and one prediction, it is known that the task had the prediction. */
function hasWrongEnd (ends: TaskEnd[], unused: PaidPrediction[]): boolean {
  const [end, ...otherEnds] = ends
  const [prediction, ...others] = unused
  if (end === undefined || end.given !== undefined || otherEnds.length > 0 || others.length > 0) return false
  return prediction?.output === 'no video' && !prediction.isWiped && !['no_output', ...undecided].includes(String(end.error))
}

/** A task can also end before it is known what its prediction made. */
const undecided = ['canceled', 'deadline_exceeded', 'submission_unknown', 'provider_unavailable']
