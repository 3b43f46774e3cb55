import { animatedLook } from './animated-look.ts'
import { cursedLook } from './cursed-look.ts'
import type { Look } from './picture.ts'
import { plainLook } from './plain-look.ts'
import { realisticLook } from './realistic-look.ts'

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
