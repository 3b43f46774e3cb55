/**
 * `changed`: these tasks have changed, here or on another instance. `poll_requested`: the instances that hold these tasks
 * should poll their predictions now. `resync`: events may have been missed, so everything should be read again.
 */
export type TaskEvent =
  | { kind: 'changed', taskIds: string[], isLocal: boolean }
  | { kind: 'poll_requested', taskIds: string[] }
  | { kind: 'resync' }
