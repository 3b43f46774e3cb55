import type { Style } from '../tasks/styles.ts'

/**
 * Inputs that a model declares besides `prompt`. Replicate answers 422 to an input that the model does not declare, so a
 * model that is not listed gets only the prompt.
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

/** Videos are watched on phones. Every listed model that declares `aspect_ratio` accepts this value. */
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
  /** the predicate of a sentence whose subject is the name of the setting */
  | { ok: false, fault: string }

// The parts are inserted into a URL path unescaped, so none may begin with a dot or contain a slash.
const modelExpression = /^([a-z0-9][\w.-]{0,99})\/([a-z0-9][\w.-]{0,99})(?::(\w{1,128}))?$/i

export function parseModel (model: string): ParsedModel {
  const [, owner, name, version] = modelExpression.exec(model) ?? []
  if (owner === undefined || name === undefined) {
    return { ok: false, fault: 'must be owner/name or owner/name:version, like luma/ray' }
  }
  return { ok: true, owner, name, version }
}

/**
 * Builds the input of a prediction: the prompt, and the portrait format and the seed if the model declares them.
 * @param seed an integer from 0 to 2^31 - 1, stored with the task so that its prediction can be told apart from others
 */
export function buildInput (model: string, prompt: string, seed: number): Record<string, unknown> {
  if (!Number.isInteger(seed) || seed < 0 || seed > maxSeed) throw new RangeError(`A seed must be an integer from 0 to ${maxSeed}, not ${seed}`)
  const { owner, name } = requireModel(model)
  const declared = declaredInputs[`${owner}/${name}`] ?? []
  return {
    prompt,
    ...(declared.includes('aspect_ratio') ? { aspect_ratio: portrait } : {}),
    ...(declared.includes('seed') ? { seed } : {})
  }
}

/** @returns the path below the API's base URL that creates a prediction of the model, and the `version` for the body, if any */
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
