import type { Test } from 'tap'

/** Like `t.match` of a list, but the list must not have more entries than patterns, which `t.match` allows. */
export function matchList (t: Pick<Test, 'match' | 'equal'>, found: readonly unknown[], patterns: readonly unknown[], message = 'should match'): void {
  t.match(found, patterns, message)
  t.equal(found.length, patterns.length, 'no further entry')
}
