/** Where a process kills itself with `kill -9`: between two steps of the life of a task, or of the delivery of a callback. */
export const killPoints = [
  'before_intent', 'after_intent', 'after_post_sent', 'after_answer', 'before_storing', 'after_storing', 'while_copying', 'after_copying',
  'before_finish', 'after_finish', 'before_callback', 'after_callback_answer'
] as const
/**
 * Where a process freezes itself: the submission intent is on disk, and the POST is requested, or about to be written; a part of a
 * video has been received.
 */
export const freezePoints = ['freeze_after_intent', 'freeze_before_sending', 'freeze_while_copying'] as const

export type KillPoint = typeof killPoints[number]
export type FreezePoint = typeof freezePoints[number]
export type CrashPoint = KillPoint | FreezePoint

/** Fires when the process passes the point for the `occurrence`-th time since its start, counted from 1. */
export interface CrashTrigger { point: CrashPoint, occurrence: number }

/** The environment variable that gives a process its trigger. */
export const crashTriggerVariable = 'CHAOS_CRASH_TRIGGER'

export function formatTrigger ({ point, occurrence }: CrashTrigger): string {
  return `${point}:${occurrence}`
}

/** @returns undefined if the text names no point */
export function parseTrigger (text = ''): CrashTrigger | undefined {
  const [name, occurrence] = text.split(':')
  const point = [...killPoints, ...freezePoints].find((known) => known === name)
  return point && { point, occurrence: Number(occurrence) }
}

export function isFreezePoint (point: CrashPoint): point is FreezePoint {
  return freezePoints.some((known) => known === point)
}
