import { createCanvas, type Canvas } from '@napi-rs/canvas'
import { fontFamilies } from './fonts.ts'
import { fitLines } from './line-breaks.ts'
import { HEIGHT, WIDTH, type Context, type Look } from './frame.ts'

const MARGIN = 20
const PADDING = 18
const BOX = { width: WIDTH - 2 * (MARGIN + PADDING), height: HEIGHT - 2 * (MARGIN + PADDING) }
const RIGHT_TO_LEFT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}]/u
const ANY_LETTER = /\p{L}/u

/** The words of a dream on a panel, painted once and laid over every frame. Empty for an empty dream. */
export function paintDream (dream: string, look: Look): Canvas {
  const canvas = createCanvas(WIDTH, HEIGHT)
  const text = dream.trim()
  if (text === '') return canvas
  const context = canvas.getContext('2d')
  const families = fontFamilies(`${text}…`).map((family) => `"${family}"`).join(', ')
  prepare(context, text)
  const { lines, fontSize, lineHeight } = fitLines(context, text, (size) => `${size}px ${families}`, BOX)
  const height = lines.length * lineHeight + 2 * PADDING
  const top = (HEIGHT - height) / 2
  paintPanel(context, look, top, height)
  for (const [colour, offset] of [...look.ghosts, [look.ink, 0] as const]) {
    context.fillStyle = colour
    lines.forEach((line, index) => context.fillText(line, WIDTH / 2 + offset, top + PADDING + index * lineHeight + fontSize * 1.05))
  }
  return canvas
}

function prepare (context: Context, text: string): void {
  context.textAlign = 'center'
  context.direction = RIGHT_TO_LEFT.test(ANY_LETTER.exec(text)?.[0] ?? '') ? 'rtl' : 'ltr'
  // Some of the variable fonts are hairlines unless told; the weight of the font shorthand reaches only the first family.
  context.fontVariationSettings = '"wght" 600'
}

function paintPanel (context: Context, { panel, border }: Look, top: number, height: number): void {
  context.beginPath()
  context.roundRect(MARGIN, top, WIDTH - 2 * MARGIN, height, 10)
  context.fillStyle = panel
  context.fill()
  if (border === null) return
  context.lineWidth = 3
  context.strokeStyle = border
  context.stroke()
}
