/**
 * `changed`: these tasks have moved, here or elsewhere. `prompted`: whoever holds these should look at their predictions now. `gap`: news
 * may have been missed.
 */
export type TaskEvent =
  | { kind: 'changed', taskIds: string[], isLocal: boolean }
  | { kind: 'poll_requested', taskIds: string[] }
  | { kind: 'resync' }
