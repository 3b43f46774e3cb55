import type { Context } from './frame.ts'

export interface Lines {
  lines: string[]
  fontSize: number
  lineHeight: number
}

interface Box { width: number, height: number }

const maxFontSize = 34
const minFontSize = 14
const words = new Intl.Segmenter(undefined, { granularity: 'word' })
const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

/** Breaks a text into lines that fit the box, in the largest font size for which all fit. A text that is too long is cut with an ellipsis. */
export function fitLines (context: Context, text: string, fontOf: (size: number) => string, box: Box): Lines {
  for (let fontSize = maxFontSize; ; fontSize -= 2) {
    context.font = fontOf(fontSize)
    const lineHeight = Math.round(fontSize * 1.4)
    const lines = wrap(text, (line) => context.measureText(line).width <= box.width)
    const room = Math.floor(box.height / lineHeight)
    if (lines.length <= room) return { lines, fontSize, lineHeight }
    if (fontSize <= minFontSize) return { lines: cutLines(lines, room), fontSize, lineHeight }
  }
}

function cutLines (lines: readonly string[], room: number): string[] {
  const kept = lines.slice(0, room)
  const last = Array.from(graphemes.segment(kept.pop() ?? ''), ({ segment }) => segment)
  return [...kept, `${last.slice(0, -2).join('').replace(/[\s\p{P}]+$/u, '')}…`]
}

function wrap (text: string, fits: (line: string) => boolean): string[] {
  return text.split(/\r\n|[\n\r\u2028\u2029]/).flatMap((paragraph) => wrapParagraph(paragraph.trim(), fits))
}

function wrapParagraph (text: string, fits: (line: string) => boolean): string[] {
  const lines = []
  let line = ''
  for (const piece of pieces(text)) {
    for (const part of fits(piece.trimEnd()) ? [piece] : splitWord(piece)) {
      if (line !== '' && !fits((line + part).trimEnd())) {
        lines.push(line.trimEnd())
        line = part.trimStart()
      } else {
        line += part
      }
    }
  }
  return [...lines, line.trimEnd()]
}

/** Words together with the punctuation after them: a line must not begin with a comma or a closing bracket. */
function pieces (text: string): string[] {
  const joined: string[] = []
  for (const { segment } of words.segment(text)) {
    const last = joined.at(-1)
    if (last !== undefined && /^[\p{Pe}\p{Pf}\p{Po}\u30FC]+$/u.test(segment)) joined[joined.length - 1] = last + segment
    else joined.push(segment)
  }
  return joined
}

function splitWord (word: string): string[] {
  return Array.from(graphemes.segment(word), ({ segment }) => segment)
}
