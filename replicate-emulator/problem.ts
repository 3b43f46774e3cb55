import { STATUS_CODES } from 'node:http'

export interface InvalidField {
  type: string
  field: string
  description: string
}

interface ProblemMembers {
  title?: string
  retry_after?: number
  invalid_fields?: readonly InvalidField[]
}

/** An error as Replicate words it: `{title, detail, status, …}`, sent as `application/problem+json`. */
export class Problem extends Error {
  readonly status: number
  readonly members: ProblemMembers

  constructor (status: number, detail: string, members: ProblemMembers = {}) {
    super(detail)
    this.status = status
    this.members = members
  }

  get body () {
    return { title: STATUS_CODES[this.status] ?? 'Error', detail: this.message, status: this.status, ...this.members }
  }
}

/** A 422 for input that does not fit; Replicate lists every fault, in `detail` too. */
export function invalidInput (fields: readonly InvalidField[]): Problem {
  const detail = fields.map(({ field, description }) => `- ${field ? `${field}: ` : ''}${description}\n`).join('')
  return new Problem(422, detail, { title: 'Input validation failed', invalid_fields: fields })
}

export function notFound (): Problem {
  return new Problem(404, 'The requested resource could not be found.', { title: 'Not found' })
}

export function throttled (seconds: number): Problem {
  return new Problem(429, `Request was throttled. Expected available in ${seconds} ${seconds === 1 ? 'second' : 'seconds'}.`,
    { retry_after: seconds })
}
