import type { InvalidField } from './problem.ts'

interface DeclaredInput {
  type: 'string' | 'integer' | 'boolean'
  enum?: ReadonlyArray<string | number>
  minimum?: number
  maximum?: number
}

type Declared = Readonly<Record<string, DeclaredInput>>

const text: DeclaredInput = { type: 'string' }
const flag: DeclaredInput = { type: 'boolean' }
const integer: DeclaredInput = { type: 'integer' }
const oneOf = (...values: string[]): DeclaredInput => ({ type: 'string', enum: values })
const oneNumberOf = (...values: number[]): DeclaredInput => ({ type: 'integer', enum: values })
const between = (minimum: number, maximum: number): DeclaredInput => ({ type: 'integer', minimum, maximum })

const wideOrTall = oneOf('16:9', '9:16')
const ray: Declared = { prompt: text, aspect_ratio: oneOf('1:1', '3:4', '4:3', '9:16', '16:9', '9:21', '21:9'), loop: flag }
const ray2: Declared = { ...ray, duration: oneNumberOf(5, 9) }
const seedance: Declared = {
  prompt: text,
  duration: between(2, 12),
  resolution: oneOf('480p', '720p', '1080p'),
  aspect_ratio: oneOf('16:9', '4:3', '1:1', '3:4', '9:16', '21:9', '9:21'),
  fps: oneNumberOf(24),
  camera_fixed: flag,
  seed: integer
}
const veo3: Declared = {
  prompt: text,
  duration: oneNumberOf(4, 6, 8),
  resolution: oneOf('720p', '1080p'),
  aspect_ratio: wideOrTall,
  generate_audio: flag,
  negative_prompt: text,
  seed: integer
}

const models: Readonly<Record<string, Declared>> = {
  'luma/ray': ray,
  'luma/ray-2-720p': ray2,
  'luma/ray-2-540p': ray2,
  'luma/ray-flash-2-720p': ray2,
  'luma/ray-flash-2-540p': ray2,
  'minimax/video-01': { prompt: text, prompt_optimizer: flag },
  'minimax/hailuo-2.3': { prompt: text, duration: oneNumberOf(6, 10), resolution: oneOf('768p', '1080p') },
  'bytedance/seedance-1-lite': seedance,
  'bytedance/seedance-1-pro': seedance,
  'google/veo-3': veo3,
  'google/veo-3-fast': veo3,
  'kwaivgi/kling-v2.5-turbo-pro': { prompt: text, duration: oneNumberOf(5, 10), aspect_ratio: oneOf('16:9', '9:16', '1:1'), negative_prompt: text },
  'wan-video/wan-2.2-t2v-fast': {
    prompt: text, num_frames: between(81, 121), frames_per_second: between(5, 30), resolution: oneOf('480p', '720p'), aspect_ratio: wideOrTall, seed: integer
  },
  'pixverse/pixverse-v5': {
    prompt: text,
    quality: oneOf('360p', '540p', '720p', '1080p'),
    duration: oneNumberOf(5, 8),
    aspect_ratio: oneOf('16:9', '9:16', '1:1'),
    negative_prompt: text,
    seed: integer
  }
}

/** Every fault of an input for a model of the table; a model that the table does not know takes anything. */
export function inputFaults (model: string, input: Readonly<Record<string, unknown>>): InvalidField[] {
  const declared = Object.hasOwn(models, model) ? models[model] : undefined
  if (declared === undefined) return []
  const missing = Object.hasOwn(input, 'prompt') ? [] : [required('input', 'prompt')]
  return [...missing, ...Object.entries(input).flatMap(([name, value]) => valueFault(declared, name, value) ?? [])]
}

export function required (field: string, name: string): InvalidField {
  return { type: 'required', field, description: `${name} is required` }
}

export function undeclared (field: string, name: string): InvalidField {
  return { type: 'additional_property_not_allowed', field, description: `Additional property ${name} is not allowed` }
}

export function wrongType (field: string, expected: string, value: unknown): InvalidField {
  return { type: 'invalid_type', field, description: `Invalid type. Expected: ${expected}, given: ${jsonType(value)}` }
}

function valueFault (declared: Declared, name: string, value: unknown): InvalidField | undefined {
  const input = Object.hasOwn(declared, name) ? declared[name] : undefined
  const field = `input.${name}`
  if (input === undefined) return undeclared('input', name)
  if (jsonType(value) !== input.type) return wrongType(field, input.type, value)
  if (input.enum && !input.enum.some((allowed) => allowed === value)) return { type: 'enum', field, description: `${field} must be one of the following: ${input.enum.map((allowed) => JSON.stringify(allowed)).join(', ')}` }
  return typeof value === 'number' ? rangeFault(input, field, value) : undefined
}

function rangeFault ({ minimum = -Infinity, maximum = Infinity }: DeclaredInput, field: string, value: number): InvalidField | undefined {
  if (value < minimum) return { type: 'number_gte', field, description: `Must be greater than or equal to ${minimum}` }
  if (value > maximum) return { type: 'number_lte', field, description: `Must be less than or equal to ${maximum}` }
  return undefined
}

function jsonType (value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}
