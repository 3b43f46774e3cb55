import { Type, type Static } from '@sinclair/typebox'
import { enumSchema } from './enum-schema.ts'
import { repetitionMembers } from './script.ts'

export const finalStatuses = ['succeeded', 'failed', 'canceled', 'aborted'] as const
export type FinalStatus = typeof finalStatuses[number]

const endingMembers = {
  status: enumSchema(finalStatuses),
  error: Type.Optional(Type.String({ description: 'What a failed prediction says' })),
  output: Type.Optional(Type.Unknown({ description: '$VIDEO in any string of it becomes the address of the video' })),
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

/** The output of an ending, with the address of the video put in. */
export function endingOutput ({ status, output }: Ending, videoAddress: string): unknown {
  if (output !== undefined) return withAddress(output, videoAddress)
  return status === 'succeeded' ? videoAddress : null
}

function withAddress (value: unknown, address: string): unknown {
  if (typeof value === 'string') return value.replaceAll('$VIDEO', () => address)
  if (Array.isArray(value)) return value.map((item) => withAddress(item, address))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withAddress(item, address)]))
}
