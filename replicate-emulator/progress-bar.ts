const totalSteps = 50
const cellCount = 10
const eighthBlocks = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/**
 * The log of a generation as the Python package tqdm writes it: one line for each second step so far.
 *
 * @param done  share of the work that is done, 0 to 1
 * @param elapsedMs  time that this share took
 */
export function progressBars (done: number, elapsedMs: number): string {
  const step = Math.floor(Math.min(Math.max(done, 0), 1) * totalSteps)
  const msPerStep = step === 0 ? 0 : elapsedMs / step
  const lines = []
  for (let at = 0; at <= step; at += 2) lines.push(bar(at, msPerStep))
  return lines.join('\n')
}

function bar (step: number, msPerStep: number): string {
  const percent = `${Math.round(step / totalSteps * 100)}%`.padStart(4)
  const rate = step === 0 || msPerStep === 0 ? '?' : (1000 / msPerStep).toFixed(2)
  const spent = clock(step * msPerStep)
  const left = step === 0 ? '?' : clock((totalSteps - step) * msPerStep)
  return `${percent}|${cells(step)}| ${step}/${totalSteps} [${spent}<${left}, ${rate}it/s]`
}

function cells (step: number): string {
  const eighths = Math.floor(step / totalSteps * cellCount * 8)
  return ('█'.repeat(Math.floor(eighths / 8)) + (eighthBlocks[eighths % 8] ?? '')).padEnd(cellCount)
}

function clock (ms: number): string {
  const seconds = Math.floor(ms / 1000)
  return `${String(Math.floor(seconds / 60)).padStart(2, '0')}:${String(seconds % 60).padStart(2, '0')}`
}
