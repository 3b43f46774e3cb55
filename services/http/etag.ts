import type { Task } from '../tasks/task.ts'

/** @returns the entity tag of a task as clients see it; it changes with `revision` */
export function formatEtag ({ revision }: Task): string {
  return `"${revision}"`
}

/** Whether `If-None-Match` contains the tag, weak or strong, or is `*` (RFC 9110, section 13.1.2). */
export function matchesEtag (ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false
  return ifNoneMatch.split(',').some((entry) => entry.trim() === '*' || entry.trim().replace(/^W\//, '') === etag)
}
