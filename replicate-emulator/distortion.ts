import { Type, type Static } from '@sinclair/typebox'
import { turnMembers } from './script.ts'

const distortionMembers = {
  members: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'Shown instead of the true ones' })),
  without: Type.Optional(Type.Array(Type.String(), { description: 'Names of members that are not shown at all' })),
}

/** What one prediction says wrongly of itself, wherever it is shown: in answers, in the list and in webhooks. */
export const PredictionDistortionSchema = Type.Object(distortionMembers, { $id: 'PredictionDistortion', additionalProperties: false })
export type PredictionDistortion = Static<typeof PredictionDistortionSchema>

/** What the next predictions say wrongly of themselves. */
export const DistortionSchema = Type.Object({ ...distortionMembers, ...turnMembers }, { $id: 'Distortion', additionalProperties: false })
export type Distortion = Static<typeof DistortionSchema>

export function distort<View extends object> (view: View, { members = {}, without = [] }: PredictionDistortion): View {
  const shown = Object.entries({ ...view, ...members }).filter(([name]) => !without.includes(name))
  // The boundary: what a distorted prediction shows is of no type that a client could rely on.
  return Object.fromEntries(shown) as View
}
