import { animatedLook } from './animated-style.ts'
import { cursedLook } from './cursed-style.ts'
import type { Look } from './frame.ts'
import { plainLook } from './plain-style.ts'
import { realisticLook } from './realistic-style.ts'

const looks: ReadonlyArray<readonly [prompt: string, look: Look]> = [
  ['Photorealistic, cinematic, surreal, dreamlike visuals', realisticLook],
  ['Beautiful, cute, Japanese animation woodblock style', animatedLook],
  ['Dark, unsettling, surreal, uncanny valley, hallucinogenic visuals', cursedLook],
]

/** Takes a prompt apart: a style's prompt, a full stop, the dream. Any other prompt is the dream, in a plain look. */
export function readPrompt (prompt: string): { look: Look, dream: string } {
  const [stylePrompt, look] = looks.find(([beginning]) => prompt.startsWith(beginning)) ?? ['', plainLook]
  return { look, dream: prompt.slice(stylePrompt.length).replace(/^\s*\.?\s*/, '') }
}
