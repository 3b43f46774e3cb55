import { Type, type Static } from '@sinclair/typebox'
import { enumSchema } from './enum-schema.ts'
import { OutputFileSchema } from './output-file.ts'
import { repetitionMembers } from './script.ts'

export const finalStatuses = ['succeeded', 'failed', 'canceled', 'aborted'] as const
export type FinalStatus = typeof finalStatuses[number]

const endingMembers = {
  status: enumSchema(finalStatuses),
  error: Type.Optional(Type.String({ description: 'What a failed prediction says' })),
  output: Type.Optional(Type.Unknown({ description: '$VIDEO, $THUMBNAIL and $API_VIDEO in any string of it become addresses of its files' })),
  video: Type.Optional(OutputFileSchema),
  thumbnail: Type.Optional(OutputFileSchema),
  logs: Type.Optional(Type.String()),
  progress: Type.Optional(Type.Boolean({ description: 'Whether the logs show progress bars' }))
}

/** How one prediction is to end. */
export const EndingSchema = Type.Object(endingMembers, { $id: 'Ending', additionalProperties: false })
export type Ending = Static<typeof EndingSchema>

/** How the next predictions are to end. */
export const OutcomeSchema = Type.Object({ ...endingMembers, ...repetitionMembers }, { $id: 'Outcome', additionalProperties: false })
export type Outcome = Static<typeof OutcomeSchema>

export const success: Ending = { status: 'succeeded' }

/** The error of an ending: only a failed prediction has one by default. */
export function endingError ({ status, error }: Ending): string | null {
  return error ?? (status === 'failed' ? 'The model raised an error.' : null)
}

/** What addresses stand for in an output. */
export interface OutputAddresses { video: string, thumbnail: string, apiVideo: string }

/** The output of an ending, with the addresses put in. */
export function endingOutput ({ status, output }: Ending, addresses: OutputAddresses): unknown {
  if (output !== undefined) return withAddresses(output, addresses)
  return status === 'succeeded' ? addresses.video : null
}

function withAddresses (value: unknown, addresses: OutputAddresses): unknown {
  if (typeof value === 'string') return replaceNames(value, addresses)
  if (Array.isArray(value)) return value.map((item) => withAddresses(item, addresses))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withAddresses(item, addresses)]))
}

function replaceNames (text: string, { video, thumbnail, apiVideo }: OutputAddresses): string {
  return text.replaceAll('$VIDEO', () => video).replaceAll('$THUMBNAIL', () => thumbnail).replaceAll('$API_VIDEO', () => apiVideo)
}
