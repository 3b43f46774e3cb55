import { parsePrefer } from './prefer.ts'

const longestWaitSeconds = 60

/**
 * The seconds of `Prefer: wait=n`, more than 60 counting as 60; undefined where there is no such preference or it cannot
 * be used.
 */
export function waitSecondsOf (prefer: string | string[] | undefined): number | undefined {
  const wait = parsePrefer(prefer).get('wait')
  return wait !== undefined && /^\d+$/.test(wait) ? Math.min(Number(wait), longestWaitSeconds) : undefined
}
