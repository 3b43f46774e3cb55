export interface Operation {
  operationId: string
  /** in upper case */
  method: string
  /** such as `/video-status/{task_id}` */
  path: string
  parameters: Array<{ name: string, in: string, isRequired: boolean }>
  responses: Record<string, Response>
  /** whether it needs no API key, also in a service that has keys */
  isPublic: boolean
}

interface Media { schema: object, examples?: Record<string, unknown> }
export interface Response { content?: Record<string, Media> }

/** The parts of an OpenAPI document that the run uses. */
export interface OpenApiDocument {
  paths: Record<string, Record<string, { operationId: string, parameters?: Array<{ name: string, in: string, required?: boolean }>, responses: Record<string, Response>, security?: object[] }>>
  components: { responses: Record<string, Response> }
}

/** @returns all operations of a document */
export function listOperations ({ paths }: OpenApiDocument): Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, { operationId, parameters = [], responses, security }]) => ({
    operationId,
    method: method.toUpperCase(),
    path,
    parameters: parameters.map((parameter) => ({ name: parameter.name, in: parameter.in, isRequired: parameter.required === true })),
    responses,
    isPublic: security?.length === 0
  })))
}
