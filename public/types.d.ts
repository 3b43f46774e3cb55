/** A task as the API presents it: the schema `Task` of openapi.json. */
export interface Task {
  task_id: string
  status: 'pending' | 'processing' | 'completed' | 'failed'
  dream: string
  style: Style
  video_url: string | null
  error: string | null
  created_at: string
  updated_at: string
  error_code: string | null
  progress: number | null
  revision: number
  poster_url: string | null
  expires_at: string | null
}

export type Style = 'Realistic' | 'Animated' | 'Cursed'

export interface TaskList { items: Task[], next_cursor: string | null }

/** A creation that was sent, and may not have been answered yet. */
export interface Creation { dream: string, style: Style, idempotencyKey: string }

/** The schema `ServiceStatus` of openapi.json. */
export interface ServiceStatus {
  open: number
  in_flight: number
  completed_last_hour: number
  failed_last_hour: number
  oldest_waiting_seconds: number | null
  provider: { state: string, breaker: 'closed' | 'open' | 'half_open', reason: string | null }
  history: Array<{ time: string, open: number, completed: number, failed: number }>
}

/** Where the films of the wall come from: the list of the service, or the ids that this browser has kept. */
export type Source = 'service' | 'browser'
