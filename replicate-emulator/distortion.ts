import { Type, type Static } from '@sinclair/typebox'
import { repetitionMembers } from './script.ts'

const distortionMembers = {
  members: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'Shown instead of the true ones' })),
  without: Type.Optional(Type.Array(Type.String(), { description: 'Names of members that are not shown at all' }))
}

/** The members that one prediction shows wrongly: in answers, in the list and in webhooks. */
export const PredictionDistortionSchema = Type.Object(distortionMembers, { $id: 'PredictionDistortion', additionalProperties: false })
export type PredictionDistortion = Static<typeof PredictionDistortionSchema>

/** The members that the next predictions show wrongly. */
export const DistortionSchema = Type.Object({ ...distortionMembers, ...repetitionMembers }, { $id: 'Distortion', additionalProperties: false })
export type Distortion = Static<typeof DistortionSchema>

export function distort<View extends object> (view: View, { members = {}, without = [] }: PredictionDistortion): View {
  const shown = Object.entries({ ...view, ...members }).filter(([name]) => !without.includes(name))
  // The boundary: what a distorted prediction shows is of no type that a client could rely on.
  return Object.fromEntries(shown) as View
}
