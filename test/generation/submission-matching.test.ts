import t from 'tap'
import { matchSubmissions, type Candidate, type FoundPrediction, type OpenSubmission } from '../../services/generation/submission-matching.ts'
import { matchList } from '../support/match-list.ts'

const input = { prompt: 'A style. A dream', aspect_ratio: '9:16' }
const start = 1_000_000

function submissionAt (taskId: string, startedAt: number, overrides: Partial<OpenSubmission> = {}, webhook: string | null = null, own = input): OpenSubmission {
  const submission = { startedAt, providerStartedAt: startedAt, model: 'luma/ray', input: own, webhook, isAmbiguous: true }
  return { taskId, submission, startedAt, state: 'in_doubt', arrivalMs: 15_000, ...overrides }
}

function candidateAt (id: string, createdAt: number | null, overrides: Partial<FoundPrediction> = {}, isRead = true): Candidate {
  const prediction = { id, status: 'processing', model: 'luma/ray', version: null, input, source: 'api', webhook: null, createdAt, dataRemoved: false, ...overrides }
  return { prediction, isRead }
}

/** What each task in doubt was assigned: an id, or the word for why there is none. */
function assigned (submissions: OpenSubmission[], candidates: Candidate[]): Record<string, string> {
  const { matches } = matchSubmissions(submissions, candidates)
  return Object.fromEntries(Array.from(matches, ([taskId, match]) => {
    if (match.outcome === 'found') return [taskId, match.prediction.id]
    return [taskId, match.outcome === 'absent' && match.unlikely !== undefined ? `unlikely ${match.unlikely.id}` : match.outcome]
  }))
}

t.test('predictions of one dream are assigned one to one in the order of their times, whatever the order of the arguments', async (t) => {
  const submissions = [submissionAt('a', start), submissionAt('b', start + 500), submissionAt('c', start + 1_000)]
  const candidates = [candidateAt('p1', start + 200), candidateAt('p2', start + 700)]
  const expected = { a: 'p1', b: 'p2', c: 'absent' }
  t.same(assigned(submissions, candidates), expected)
  t.same(assigned(submissions.toReversed(), candidates.toReversed()), expected)
})

t.test('a prediction that is older than the submission, or has failed, is only the last resort', async (t) => {
  const older = candidateAt('older', start - 60_000)
  const failed = candidateAt('failed', start + 100, { status: 'failed' })
  t.same(assigned([submissionAt('a', start)], [older, failed, candidateAt('own', start + 300)]), { a: 'own' })
  t.same(assigned([submissionAt('a', start)], [failed, older]), { a: 'unlikely older' })
  t.same(assigned([submissionAt('a', start)], [failed]), { a: 'unlikely failed' })
  t.same(assigned([submissionAt('a', start)], [candidateAt('far', start - 121_000), candidateAt('late', start + 136_000)]), { a: 'absent' })
})

t.test('a prediction that is older by no more than the error of the clock is taken before one of another client', async (t) => {
  const own = candidateAt('own', start - 450)
  t.same(assigned([submissionAt('a', start)], [candidateAt('foreign', start + 1_500), own]), { a: 'own' })
  t.same(assigned([submissionAt('a', start)], [candidateAt('foreign', start - 600), candidateAt('own', start + 100)]), { a: 'own' })
})

t.test('a prediction of a submission that still awaits its answer is not taken, and does not prove that the other one has made none', async (t) => {
  const waiting = submissionAt('waiting', start, { state: 'awaiting_answer' })
  const inDoubt = submissionAt('in doubt', start + 100)
  t.same(assigned([waiting, inDoubt], [candidateAt('p1', start + 300)]), { 'in doubt': 'undecided' })
  t.same(assigned([waiting, submissionAt('in doubt', start - 60_000)], [candidateAt('p1', start + 300)]), { 'in doubt': 'absent' })
  t.same(assigned([waiting, inDoubt], [candidateAt('p1', start + 300), candidateAt('p2', start + 400)]), { 'in doubt': 'p2' })
})

t.test('a webhook address and a seed identify a prediction, in any order and at any time', async (t) => {
  const [hookA, hookB] = ['https://dreams.example/a', 'https://dreams.example/b']
  const submissions = [submissionAt('a', start, {}, hookA), submissionAt('b', start, {}, hookB)]
  const candidates = [candidateAt('of b', start + 100, { webhook: hookB }), candidateAt('of a', start - 90_000, { webhook: hookA })]
  t.same(assigned(submissions, candidates), { a: 'of a', b: 'of b' })
  t.same(assigned(submissions, [candidateAt('foreign', start + 100, { webhook: 'https://another.example' })]), { a: 'absent', b: 'absent' })

  const seeded = { ...input, seed: 7 }
  t.same(assigned([submissionAt('a', start), submissionAt('s', start + 1, {}, null, seeded)], [candidateAt('of s', start - 60_000, { input: seeded })]), { a: 'absent', s: 'of s' })
})

t.test('a prediction with more input than was asked for, of another model, or made by hand is told apart', async (t) => {
  const others = [
    candidateAt('p1', start + 1, { input: { ...input, prompt: 'Another' } }),
    candidateAt('p2', start + 1, { model: 'luma/ray-2-720p' }),
    candidateAt('p3', start + 1, { source: 'web' })
  ]
  t.same(assigned([submissionAt('a', start)], others), { a: 'absent' })
  t.same(assigned([submissionAt('a', start)], [candidateAt('p', start + 1, { input: { ...input, loop: false } })]), { a: 'p' })
})

t.test('a candidate that could not be read keeps each submission that can have made it from being submitted again', async (t) => {
  const submissions = [submissionAt('a', start), submissionAt('b', start + 1_000)]
  t.same(assigned(submissions, [candidateAt('hidden', start + 100, { input: null }, false)]), { a: 'undecided', b: 'undecided' })
  t.same(assigned(submissions, [candidateAt('hidden', start + 100, {}, false), candidateAt('seen', start + 1_100)]), { a: 'seen', b: 'undecided' })
  const later = [submissionAt('a', start), submissionAt('b', start + 300_000)]
  t.same(assigned(later, [candidateAt('hidden', start + 100, { input: null }, false)]), { a: 'undecided', b: 'absent' })
  const ofAnother = [submissionAt('a', start), submissionAt('b', start, {}, null, { ...input, prompt: 'Another' })]
  t.same(assigned(ofAnother, [candidateAt('hidden', start + 100, {}, false)]), { a: 'undecided', b: 'absent' })
})

t.test('a prediction whose data was removed is not attached, and keeps each submission that can have made it from being submitted again', async (t) => {
  const wiped = candidateAt('wiped', start + 100, { input: null, dataRemoved: true, status: 'succeeded' })
  t.same(assigned([submissionAt('early', start - 10_000), submissionAt('own', start)], [wiped]), { early: 'wiped', own: 'wiped' })
  t.same(assigned([submissionAt('a', start)], [wiped, candidateAt('own', start + 200)]), { a: 'own' })
  t.same(assigned([submissionAt('a', start)], [wiped, candidateAt('unread', start + 200, { input: null }, false)]), { a: 'undecided' })
})

t.test('an implausible time affects only its own prediction', async (t) => {
  t.same(assigned([submissionAt('a', start)], [candidateAt('timeless', null), candidateAt('own', start + 50)]), { a: 'own' })
  t.same(assigned([submissionAt('a', start)], [candidateAt('timeless', null)]), { a: 'unlikely timeless' })
})

t.test('a running prediction that names a canceled task is unwanted, and no other task gets it', async (t) => {
  const hook = 'https://dreams.example/a'
  const canceled = submissionAt('a', start, { state: 'canceled' }, hook)
  const running = candidateAt('running', start + 100, { webhook: hook })
  const ended = candidateAt('ended', start + 100, { webhook: hook, status: 'succeeded' })
  const { unwanted, matches } = matchSubmissions([canceled, submissionAt('b', start)], [running, ended])
  matchList(t, unwanted, [{ taskId: 'a', prediction: { id: 'running' } }])
  t.match(matches.get('b'), { outcome: 'absent', unlikely: undefined })
})
