import { GlobalFonts } from '@napi-rs/canvas'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

/**
 * The fonts are small files, each for some code points, so that only the files that a dream needs are loaded. The fonts of
 * the machine are tried last: a bare machine has none.
 */
interface Slice {
  family: string
  file: string
  ranges: ReadonlyArray<readonly [first: number, last: number]>
}

const { resolve } = createRequire(import.meta.url)
const emojiFontFamily = 'Dream Emoji'
/** Characters that may be drawn as emoji; digits and signs such as # are emoji only with the selector U+FE0F. */
const emojiPattern = /\p{Extended_Pictographic}|\p{Regional_Indicator}|\uFE0F/u

const elsewhere = ['-hebrew', '-arabic', '-devanagari', '-thai', '-bengali', '-kannada', '-sinhala', '-khmer',
  '-georgian', '-armenian', '-ethiopic', '-gujarati', '-gurmukhi', '-lao', '-malayalam', '-myanmar', '-oriya', '-tamil', '-telugu']
const slicesByScript = new Map<string, Slice[]>()
const registered = new Set<string>()

/**
 * Registers the fonts that a text needs. Han characters have different shapes in Japan and China: a text with kana gets the
 * Japanese ones, and a Korean text those of the Korean font, if it has them.
 * @returns the font families in the order in which they are to be tried
 */
export function fontFamilies (text: string): string[] {
  const characters = new Set(text)
  const basic = neededSlices('', characters)
  // Before the other scripts, whose fonts would otherwise draw an emoji as a symbol.
  const emoji = emojiPattern.test(text) ? [registerEmoji()] : []
  const others = [...elsewhere, ...hanOrder(text)].flatMap((script) => neededSlices(script, characters))
  for (const { family, file } of [...basic, ...others]) register(family, file)
  return [...basic.map(({ family }) => family), ...emoji, ...others.map(({ family }) => family), 'sans-serif']
}

function hanOrder (text: string): string[] {
  if (/[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(text)) return ['-jp', '-kr', '-sc']
  return /\p{Script=Hangul}/u.test(text) ? ['-kr', '-sc', '-jp'] : ['-sc', '-jp', '-kr']
}

/** The slices of a script that cover characters of the set. Removes these characters from the set. */
function neededSlices (script: string, characters: Set<string>): Slice[] {
  return slicesOf(script).filter(({ ranges }) => {
    const covered = [...characters].filter((character) => isCovered(character.codePointAt(0) ?? 0, ranges))
    for (const character of covered) characters.delete(character)
    return covered.length > 0
  })
}

function isCovered (code: number, ranges: Slice['ranges']): boolean {
  return ranges.some(([first, last]) => code >= first && code <= last)
}

function slicesOf (script: string): Slice[] {
  const known = slicesByScript.get(script)
  if (known !== undefined) return known
  const slices = readSlices(script)
  slicesByScript.set(script, slices)
  return slices
}

function readSlices (script: string): Slice[] {
  const name = `noto-sans${script}`
  const stylesheet = readFileSync(resolve(`@fontsource-variable/${name}/wght.css`), 'utf8')
  const faces = stylesheet.matchAll(/url\(\.\/files\/([^)]+)\)[^}]*?unicode-range:\s*([^;}]+)/g)
  return Array.from(faces, ([, file = '', ranges = '']) => ({
    family: `Dream ${file.replace(/-wght-normal\.woff2$/, '')}`,
    file: resolve(`@fontsource-variable/${name}/files/${file}`),
    ranges: ranges.split(',').map(readCodeRange)
  }))
}

function readCodeRange (range: string): readonly [number, number] {
  const [first = '', last = first] = range.trim().replace(/^U\+/i, '').split('-')
  return [parseInt(first, 16), parseInt(last, 16)]
}

function registerEmoji (): string {
  register(emojiFontFamily, resolve('@expo-google-fonts/noto-emoji/400Regular/NotoEmoji_400Regular.ttf'))
  return emojiFontFamily
}

function register (family: string, file: string): void {
  if (registered.has(family)) return
  if (GlobalFonts.registerFromPath(file, family) === null) throw new Error(`The font ${file} cannot be read`)
  registered.add(family)
}
