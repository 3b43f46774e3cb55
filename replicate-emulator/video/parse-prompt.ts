import { animatedStyle } from './animated-style.ts'
import { cursedStyle } from './cursed-style.ts'
import type { VideoStyle } from './frame.ts'
import { plainStyle } from './plain-style.ts'
import { realisticStyle } from './realistic-style.ts'

const styles: ReadonlyArray<readonly [prompt: string, style: VideoStyle]> = [
  ['Photorealistic, cinematic, surreal, dreamlike visuals', realisticStyle],
  ['Beautiful, cute, Japanese animation woodblock style', animatedStyle],
  ['Dark, unsettling, surreal, uncanny valley, hallucinogenic visuals', cursedStyle]
]

/** Splits a prompt of the service: the prompt of a style, a full stop, the dream. Any other prompt is a dream in the plain style. */
export function parsePrompt (prompt: string): { style: VideoStyle, dream: string } {
  const [beginning, style] = styles.find(([beginning]) => prompt.startsWith(beginning)) ?? ['', plainStyle]
  return { style, dream: prompt.slice(beginning.length).replace(/^\s*\.?\s*/, '') }
}
