import { createCanvas, type Canvas } from '@napi-rs/canvas'
import { fontFamilies } from './fonts.ts'
import { frameHeight, frameWidth, type Context, type VideoStyle } from './frame.ts'
import { fitLines } from './line-breaks.ts'

const margin = 20
const padding = 18
const box = { width: frameWidth - 2 * (margin + padding), height: frameHeight - 2 * (margin + padding) }
const rightToLeft = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}]/u
const anyLetter = /\p{L}/u

/** Paints the text of a dream on a panel, which is laid over every frame. The canvas is empty for an empty dream. */
export function paintCaption (dream: string, style: VideoStyle): Canvas {
  const canvas = createCanvas(frameWidth, frameHeight)
  const text = dream.trim()
  if (text === '') return canvas
  const context = canvas.getContext('2d')
  const families = fontFamilies(`${text}…`).map((family) => `"${family}"`).join(', ')
  prepare(context, text)
  const { lines, fontSize, lineHeight } = fitLines(context, text, (size) => `${size}px ${families}`, box)
  const height = lines.length * lineHeight + 2 * padding
  const top = (frameHeight - height) / 2
  paintPanel(context, style, top, height)
  for (const [colour, offset] of [...style.ghosts, [style.ink, 0] as const]) {
    context.fillStyle = colour
    lines.forEach((line, index) => context.fillText(line, frameWidth / 2 + offset, top + padding + index * lineHeight + fontSize * 1.05))
  }
  return canvas
}

function prepare (context: Context, text: string): void {
  context.textAlign = 'center'
  context.direction = rightToLeft.test(anyLetter.exec(text)?.[0] ?? '') ? 'rtl' : 'ltr'
  // Without it some variable fonts have hairlines; the weight of the font shorthand applies only to the first family.
  context.fontVariationSettings = '"wght" 600'
}

function paintPanel (context: Context, { panel, border }: VideoStyle, top: number, height: number): void {
  context.beginPath()
  context.roundRect(margin, top, frameWidth - 2 * margin, height, 10)
  context.fillStyle = panel
  context.fill()
  if (border === null) return
  context.lineWidth = 3
  context.strokeStyle = border
  context.stroke()
}
