import type { SKRSContext2D } from '@napi-rs/canvas'
import type { Random } from '../random.ts'

export const WIDTH = 360
export const HEIGHT = 640
export const FRAMES_PER_SECOND = 12
export const SECONDS = 4

export type Context = SKRSContext2D

/** Paints the moving background at a time from 0 to 1, the same at both ends so that the video loops. */
export type Painter = (context: Context, time: number) => void

/** How a style looks: its background, and how the words of the dream stand in it. */
export interface Look {
  /** Shapes are chosen once, by the dream's own random numbers. */
  background: (random: Random) => Painter
  /** The colour of the panel under the words. */
  panel: string
  border: string | null
  ink: string
  /** Weaker copies of the words beside them, each `[colour, x offset]`. */
  ghosts: ReadonlyArray<readonly [colour: string, offset: number]>
}

/** One turn of a circle over the video's length, `turns` times. */
export function turn (time: number, turns = 1): number {
  return time * turns * 2 * Math.PI
}

export function verticalGradient (context: Context, colours: readonly string[]) {
  const gradient = context.createLinearGradient(0, 0, 0, HEIGHT)
  colours.forEach((colour, index) => gradient.addColorStop(index / (colours.length - 1), colour))
  return gradient
}

export function disc (context: Context, x: number, y: number, radius: number): void {
  context.beginPath()
  context.arc(x, y, radius, 0, 2 * Math.PI)
}
