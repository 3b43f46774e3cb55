/**
 * `changed`: these tasks have moved, here or elsewhere. `prompted`: whoever holds these should look at their predictions now. `gap`: news
 * may have been missed.
 */
export type TaskNews =
  | { kind: 'changed', taskIds: string[], isOwn: boolean }
  | { kind: 'prompted', taskIds: string[] }
  | { kind: 'gap' }
