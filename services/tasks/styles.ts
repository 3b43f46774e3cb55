export const styles = ['Realistic', 'Animated', 'Cursed'] as const
export type Style = typeof styles[number]

const stylePrompts: Record<Style, string> = {
  Realistic: 'Photorealistic, cinematic, surreal, dreamlike visuals',
  Animated: 'Beautiful, cute, Japanese animation woodblock style',
  Cursed: 'Dark, unsettling, surreal, uncanny valley, hallucinogenic visuals'
}

/** Builds the prompt for the model: the description of the style, then the unchanged dream of the client. */
export function promptFor (style: Style, dream: string): string {
  return `${stylePrompts[style]}. ${dream}`
}
