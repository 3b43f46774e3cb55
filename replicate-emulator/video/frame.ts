import type { SKRSContext2D } from '@napi-rs/canvas'
import type { Random } from '../random.ts'

export const frameWidth = 360
export const frameHeight = 640
export const framesPerSecond = 12
export const videoSeconds = 4

export type Context = SKRSContext2D

/** Paints the moving background at a time from 0 to 1, the same at both ends so that the video loops. */
export type Painter = (context: Context, time: number) => void

/** How the videos of a style are drawn: the background, and the colours of the caption. */
export interface VideoStyle {
  /** Chooses its shapes once, by the random numbers of the dream. */
  background: (random: Random) => Painter
  /** The colour of the panel under the caption. */
  panel: string
  border: string | null
  ink: string
  /** Weaker copies of the caption beside it, each `[colour, x offset]`. */
  ghosts: ReadonlyArray<readonly [colour: string, offset: number]>
}

/** The angle at a time of the video, for `turns` rotations over its length. */
export function rotation (time: number, turns = 1): number {
  return time * turns * 2 * Math.PI
}

export function verticalGradient (context: Context, colours: readonly string[]) {
  const gradient = context.createLinearGradient(0, 0, 0, frameHeight)
  colours.forEach((colour, index) => gradient.addColorStop(index / (colours.length - 1), colour))
  return gradient
}

export function disc (context: Context, x: number, y: number, radius: number): void {
  context.beginPath()
  context.arc(x, y, radius, 0, 2 * Math.PI)
}
