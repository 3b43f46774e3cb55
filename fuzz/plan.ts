import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'

export const propertyNames = ['operations', 'bytes', 'webhooks', 'keys'] as const
export type PropertyName = typeof propertyNames[number]

/** The arguments of a run. */
export interface Plan {
  /** how long requests are sent; the run takes a few seconds more */
  seconds: number
  seed: number
  /** what to send; everything if it is not named */
  property: PropertyName | undefined
  /** fast-check’s path to one failure, so that only that is repeated */
  path: string | undefined
}

const maxSeed = 2 ** 31

/** @throws Error with a sentence about the argument that is not valid */
export function readPlan (args: string[]): Plan {
  const { values } = parseArgs({
    args,
    options: { seconds: { type: 'string', default: '120' }, seed: { type: 'string', default: String(randomInt(maxSeed)) }, property: { type: 'string' }, path: { type: 'string' } }
  })
  const { property, path } = values
  if (property !== undefined && !isPropertyName(property)) throw new Error(`--property must be one of ${propertyNames.join(', ')}`)
  if (path !== undefined && property === undefined) throw new Error('--path needs --property')
  return { seconds: readNumber('seconds', values.seconds, 3_600), seed: readNumber('seed', values.seed, maxSeed), property, path }
}

function readNumber (name: string, text: string, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > max) throw new Error(`--${name} must be a whole number up to ${max}`)
  return value
}

function isPropertyName (name: string): name is PropertyName {
  return (propertyNames as readonly string[]).includes(name)
}
