import { Type, type Static } from '@sinclair/typebox'
import type { Random } from './random.ts'
import { repetitionMembers } from './script.ts'

const foreignMembers = {
  ms: Type.Optional(Type.Integer({
    minimum: -3_600_000,
    maximum: 3_600_000,
    description: 'How much younger it is than what it imitates, negative: older; by default anything up to two seconds either way'
  })),
  webhook: Type.Optional(Type.String({ description: 'Shown, but never called; by default there is none' }))
}

/** A prediction that some other client of the same account makes, of the same model and input. */
export const ForeignPredictionSchema = Type.Object(foreignMembers, { $id: 'ForeignPrediction', additionalProperties: false })
export type ForeignPrediction = Static<typeof ForeignPredictionSchema>

/** Which of the next creates such a prediction accompanies. */
export const ForeignSchema = Type.Object({ ...foreignMembers, ...repetitionMembers }, { $id: 'Foreign', additionalProperties: false })
export type Foreign = Static<typeof ForeignSchema>

const maxDefaultDifferenceMs = 2000

export function ageDifference ({ ms }: ForeignPrediction, random: Random): number {
  return ms ?? Math.round((random() * 2 - 1) * maxDefaultDifferenceMs)
}
