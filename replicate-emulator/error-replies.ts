import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { notFound, Problem } from './problem.ts'

/** Answers every error with a problem; an unexpected one is logged and becomes a plain 500. */
export function replyWithError (error: FastifyError | Problem, request: FastifyRequest, reply: FastifyReply): void {
  const problem = error instanceof Problem ? error : toProblem(error)
  if (problem.status >= 500) request.log.error({ err: error })
  sendProblem(problem, reply)
}

export function replyNotFound (request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(notFound(), reply)
}

function sendProblem (problem: Problem, reply: FastifyReply): void {
  reply.code(problem.status).type('application/problem+json; charset=utf-8').send(JSON.stringify(problem.body))
}

function toProblem (error: FastifyError): Problem {
  const { validation, statusCode = 500, message } = error
  if (validation !== undefined) return new Problem(422, validation.map(({ instancePath, message = 'is wrong', params }) => `${instancePath || '/'} ${message}${hint(params)}`).join('; '))
  return statusCode < 500 ? new Problem(statusCode, message) : new Problem(500, 'Internal server error')
}

/** What Ajv's message leaves out: the allowed values, or the additional member. */
function hint (params: Record<string, unknown>): string {
  const { allowedValues, additionalProperty } = params
  if (Array.isArray(allowedValues)) return `: ${allowedValues.join(', ')}`
  return typeof additionalProperty === 'string' ? `: ${additionalProperty}` : ''
}
