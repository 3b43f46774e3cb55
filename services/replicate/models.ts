import type { Style } from '../tasks/styles.ts'

/**
 * The inputs that a model declares beside `prompt`, as far as we give them. Replicate answers 422 to one that it does
 * not declare, so a model that is not listed gets the prompt alone.
 */
const declaredInputs: Record<string, readonly string[]> = {
  'luma/ray': ['aspect_ratio', 'loop'],
  'luma/ray-2-720p': ['duration', 'aspect_ratio', 'loop'],
  'luma/ray-2-540p': ['duration', 'aspect_ratio', 'loop'],
  'luma/ray-flash-2-720p': ['duration', 'aspect_ratio', 'loop'],
  'luma/ray-flash-2-540p': ['duration', 'aspect_ratio', 'loop'],
  'minimax/video-01': ['prompt_optimizer'],
  'minimax/hailuo-2.3': ['duration', 'resolution'],
  'bytedance/seedance-1-lite': ['duration', 'resolution', 'aspect_ratio', 'fps', 'camera_fixed', 'seed'],
  'bytedance/seedance-1-pro': ['duration', 'resolution', 'aspect_ratio', 'fps', 'camera_fixed', 'seed'],
  'google/veo-3': ['duration', 'resolution', 'aspect_ratio', 'generate_audio', 'negative_prompt', 'seed'],
  'google/veo-3-fast': ['duration', 'resolution', 'aspect_ratio', 'generate_audio', 'negative_prompt', 'seed'],
  'kwaivgi/kling-v2.5-turbo-pro': ['duration', 'aspect_ratio', 'negative_prompt'],
  'wan-video/wan-2.2-t2v-fast': ['num_frames', 'frames_per_second', 'resolution', 'aspect_ratio', 'seed'],
  'pixverse/pixverse-v5': ['quality', 'duration', 'aspect_ratio', 'negative_prompt', 'seed']
}

/** A dream is watched on a phone; every model of the table that declares `aspect_ratio` knows this one. */
const portrait = '9:16'
const maxSeed = 2 ** 31 - 1

/** The model of each style, `owner/name` or `owner/name:version`. */
export type StyleModels = Readonly<Record<Style, string>>

export interface ModelChoice {
  REPLICATE_MODEL: string
  REPLICATE_MODEL_REALISTIC?: string | undefined
  REPLICATE_MODEL_ANIMATED?: string | undefined
  REPLICATE_MODEL_CURSED?: string | undefined
}

export function styleModels (choice: ModelChoice): StyleModels {
  return {
    Realistic: choice.REPLICATE_MODEL_REALISTIC ?? choice.REPLICATE_MODEL,
    Animated: choice.REPLICATE_MODEL_ANIMATED ?? choice.REPLICATE_MODEL,
    Cursed: choice.REPLICATE_MODEL_CURSED ?? choice.REPLICATE_MODEL
  }
}

export type ParsedModel =
  | { ok: true, owner: string, name: string, version: string | undefined }
  /** completes a sentence that begins with the name of the value */
  | { ok: false, fault: string }

// No part can begin with a dot or hold a slash: the parts go into a path as they are.
const modelExpression = /^([a-z0-9][\w.-]{0,99})\/([a-z0-9][\w.-]{0,99})(?::(\w{1,128}))?$/i

export function parseModel (model: string): ParsedModel {
  const [, owner, name, version] = modelExpression.exec(model) ?? []
  if (owner === undefined || name === undefined) {
    return { ok: false, fault: 'must be owner/name or owner/name:version, like luma/ray' }
  }
  return { ok: true, owner, name, version }
}

/**
 * What the model is given: the prompt, and of portrait format and seed what it declares.
 * @param seed a whole number from 0 to 2^31 - 1, kept with the task so that its prediction can be told from another's
 */
export function buildInput (model: string, prompt: string, seed: number): Record<string, unknown> {
  if (!Number.isInteger(seed) || seed < 0 || seed > maxSeed) throw new RangeError(`A seed cannot be ${seed}`)
  const { owner, name } = requireModel(model)
  const declared = declaredInputs[`${owner}/${name}`] ?? []
  return {
    prompt,
    ...(declared.includes('aspect_ratio') ? { aspect_ratio: portrait } : {}),
    ...(declared.includes('seed') ? { seed } : {})
  }
}

/** Where a prediction of the model is created, below the API's base, and the `version` that the body has to name. */
export function predictionsPath (model: string): { path: string, version?: string } {
  const { owner, name, version } = requireModel(model)
  return version === undefined
    ? { path: `/models/${owner}/${name}/predictions` }
    : { path: '/predictions', version: model }
}

function requireModel (model: string) {
  const parsed = parseModel(model)
  if (!parsed.ok) throw new TypeError(`The model ${model} ${parsed.fault}`)
  return parsed
}
