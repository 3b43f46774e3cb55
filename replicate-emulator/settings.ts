import { Type, type Static } from '@sinclair/typebox'

/** What may be changed while the emulator runs; durations are milliseconds. */
export const SettingsSchema = Type.Object({
  generationMs: Type.Number({ minimum: 0, description: 'From the creation of a prediction to its end' }),
  startingMs: Type.Union([Type.Number({ minimum: 0 }), Type.Null()], {
    description: 'Of which it is `starting` first; null: a quarter, at most 500'
  }),
  latencyMs: Type.Number({ minimum: 0, description: 'Added to each answer of the API' }),
  rateLimits: Type.Boolean({ description: 'Whether 600 creates and 3,000 other calls a minute are the limit' }),
  allowHttpWebhooks: Type.Boolean({ description: 'Whether a webhook may be an http:// address' }),
  listShowsWebhook: Type.Boolean({ description: 'Whether the items of a list carry `webhook`' }),
  listShowsInput: Type.Boolean({ description: 'Whether the items of a list carry `input`' }),
  listLagMs: Type.Number({ minimum: 0, description: 'From the creation of a prediction until the list shows it' }),
  keptMs: Type.Number({ minimum: 0, description: 'From the end of a new prediction until its data and its file are wiped' }),
  fileRanges: Type.Boolean({ description: 'Whether files answer ranges; otherwise a request for one gets the whole file' })
}, { $id: 'Settings', additionalProperties: false })

export type Settings = Static<typeof SettingsSchema>

export const SettingsPatchSchema = Type.Partial(SettingsSchema, { $id: 'SettingsPatch', additionalProperties: false, minProperties: 1 })

export const defaultSettings: Readonly<Settings> = {
  generationMs: 8000,
  startingMs: null,
  latencyMs: 0,
  rateLimits: true,
  allowHttpWebhooks: false,
  listShowsWebhook: false,
  listShowsInput: true,
  listLagMs: 0,
  keptMs: 3_600_000,
  fileRanges: true
}

/** How long a new prediction is `starting`: never longer than it lives. */
export function startingTime ({ generationMs, startingMs }: Settings): number {
  return Math.min(startingMs ?? Math.min(500, generationMs / 4), generationMs)
}
