import { Type, type Static } from '@sinclair/typebox'
import { enumSchema } from './enum-schema.ts'

/** What is in a file of a prediction. */
const fileContents = ['video', 'image', 'html', 'json', 'noise'] as const
export type FileContent = typeof fileContents[number]

const maxBytes = 4_000_000_000

/** A file that is not what it should be. */
export const OutputFileSchema = Type.Object({
  content: Type.Optional(enumSchema(fileContents)),
  bytes: Type.Optional(Type.Integer({
    minimum: 0, maximum: maxBytes, description: 'Its size: a longer file is padded, so that a video can still be played; a shorter one is cut off'
  })),
  type: Type.Optional(Type.String({ description: 'Its Content-Type; by default the one of the content' }))
}, { additionalProperties: false })

export type OutputFile = Static<typeof OutputFileSchema>
