import fp from 'fastify-plugin'
import type { FastifyRequest } from 'fastify'
import { presentTask, type TaskView } from '../services/tasks/task-view.ts'
import type { Task } from '../services/tasks/task.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * The task as a client sees it.
     * @param origin by which this client reaches the service, for the addresses in the task; null if that is not known
     */
    presentTask: (task: Task, origin: string | null) => TaskView
  }
  interface FastifyRequest {
    /** scheme, host and port of the service as this request addresses it */
    readonly origin: string
  }
}

export interface TaskViewOptions {
  /** the address at which all clients reach the service; without it addresses begin with the origin of a request */
  publicUrl: string | undefined
  /** ms from the end of a task to its deletion; null if tasks are kept for ever */
  retentionMs: number | null
}

/** Presents tasks to clients, with addresses that each client can reach. */
export default fp<TaskViewOptions>(async (app, { publicUrl, retentionMs }) => {
  app.decorate('presentTask', (task: Task, origin: string | null) => (
    presentTask(task, { origin: publicUrl ?? origin ?? app.listeningOrigin, retentionMs })
  ))
  app.decorateRequest('origin', { getter (this: FastifyRequest) { return originOf(this) } })
}, { name: 'task-view' })

/** A request of HTTP/1.0 may come without a host. */
function originOf ({ protocol, host, socket }: FastifyRequest): string {
  return `${protocol}://${host === '' || host === undefined ? `${socket.localAddress}:${socket.localPort}` : host}`
}
