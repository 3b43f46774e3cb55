/** Where a process dies by its own `kill -9`: between two steps of a task's life, or of a callback's. */
export const killPoints = [
  'before_mark', 'after_mark', 'after_post_sent', 'after_answer', 'before_finish', 'after_finish',
  'before_callback', 'after_callback_answer'
] as const
/** Where a process freezes itself: the mark is on disk, and the POST is asked for, or right about to be written. */
export const stopPoints = ['stop_after_mark', 'stop_before_sending'] as const

export type KillPoint = typeof killPoints[number]
export type StopPoint = typeof stopPoints[number]
export type StrikePoint = KillPoint | StopPoint

/** Strikes when the point is passed for the `occurrence`-th time in the life of the process, from 1. */
export interface Strike { point: StrikePoint, occurrence: number }

/** The variable that tells a process its strike, and the pipe on which it says that it strikes now. */
export const strikeVariable = 'CHAOS_STRIKE'
export const strikePipe = 3

export function formatStrike ({ point, occurrence }: Strike): string {
  return `${point}:${occurrence}`
}

/** @returns undefined where the text names none */
export function parseStrike (text = ''): Strike | undefined {
  const [name, occurrence] = text.split(':')
  const point = [...killPoints, ...stopPoints].find((known) => known === name)
  return point && { point, occurrence: Number(occurrence) }
}
