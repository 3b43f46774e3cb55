import addFormats from 'ajv-formats'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { errors } from '../errors.ts'
import type { OpenApiDocument, Operation, Response } from './openapi-operations.ts'
import type { Answer } from './wire.ts'

const problemType = 'application/problem+json'
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const documentId = 'openapi.json'

/** Compares answers with the OpenAPI document. */
export class AnswerCheck {
  readonly #ajv = new Ajv2020({ strict: false })
  readonly #common: Record<string, Response>

  constructor (document: OpenApiDocument) {
    // A plugin with a default export, which TypeScript sees as a namespace.
    (addFormats as unknown as (ajv: Ajv2020) => void)(this.#ajv)
    this.#ajv.addSchema(document, documentId)
    this.#common = { '4XX': document.components.responses.ClientError ?? {}, '5XX': document.components.responses.ServerError ?? {} }
  }

  /**
   * What holds for each answer, whatever was requested: no 5xx, an id, no header that the client made up, and a problem with a known code
   * from 400 on.
   * @throws Error with the first rule that the answer breaks
   */
  checkAny ({ status, headers, body }: Answer, isHead: boolean): void {
    if (status >= 500) throw new Error(`The status is ${status}: ${body.toString()}`)
    if (!uuid.test(headerOf(headers, 'x-request-id') ?? '')) throw new Error('The answer has no X-Request-Id')
    if (headerOf(headers, 'x-injected') !== undefined) throw new Error('The client could write a header of the answer')
    if (status < 400 || isHead) return
    if (mediaTypeOf(headers) !== problemType) throw new Error(`The type of an error is ${mediaTypeOf(headers)}`)
    const problem = this.#parse(body, { $ref: `${documentId}#/components/schemas/Problem` }) as { status: number, code: keyof typeof errors, errors?: unknown }
    if (problem.status !== status || errors[problem.code].status !== status) throw new Error(`The problem ${problem.code} has the status ${status}`)
    if ((problem.errors !== undefined) !== (problem.code === 'validation_failed')) throw new Error(`${problem.code} with${problem.errors === undefined ? 'out' : ''} faults`)
  }

  /**
   * What the document says about this operation: the status, the type and the schema of the content, and the codes of problems.
   * @throws Error with the first difference
   */
  checkOperation ({ operationId, path, method, responses }: Operation, { status, headers, body }: Answer, isHead: boolean): void {
    const range = `${String(status)[0]}XX`
    const response = responses[status] ?? (range in responses ? this.#common[range] : undefined)
    if (response === undefined) throw new Error(`${operationId} does not have the status ${status}`)
    if (isHead) return
    const { content = {} } = response
    const type = mediaTypeOf(headers)
    if (Object.keys(content).length === 0) {
      if (body.length > 0) throw new Error(`${operationId} has no content with ${status}`)
      return
    }
    const media = content[type ?? '']
    if (media === undefined) throw new Error(`${operationId} does not have the type ${type} with ${status}`)
    if (type === problemType) {
      const { code } = JSON.parse(body.toString()) as { code: string }
      const codes = [content, this.#common[range]?.content].flatMap((known) => Object.keys(known?.[problemType]?.examples ?? {}))
      if (!codes.includes(code)) throw new Error(`${operationId} does not have the code ${code}`)
    } else if (type === 'application/json') {
      const pointer = ['paths', path, method.toLowerCase(), 'responses', String(status), 'content', type, 'schema'].map((name) => encodeURIComponent(name.replaceAll('/', '~1')))
      this.#parse(body, { $ref: `${documentId}#/${pointer.join('/')}` })
    }
  }

  #parse (body: Buffer, schema: { $ref: string }): unknown {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    const validate = this.#ajv.getSchema(schema.$ref) ?? this.#ajv.compile(schema)
    if (validate(value) !== true) throw new Error(`The content does not fit its schema: ${this.#ajv.errorsText(validate.errors)}: ${body.toString()}`)
    return value
  }
}

function headerOf (headers: Answer['headers'], name: string): string | undefined {
  return headers.find(([other]) => other === name)?.[1]
}

function mediaTypeOf (headers: Answer['headers']): string | undefined {
  return headerOf(headers, 'content-type')?.split(';')[0]
}
