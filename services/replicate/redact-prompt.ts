/** So many characters in a row that stand in the dream too are taken for a piece of the dream. */
const telling = 12

/**
 * What the provider said, fit for a log line: its words often repeat the prompt, and a dream is never logged.
 * @returns the words, or a note in their place where they hold any piece of the dream, raw or escaped
 */
export function loggableWords (words: string, dream: string): string {
  const said = comparable(words)
  return spellings(dream).some((spelling) => holdsPieceOf(said, comparable(spelling))) ? '[withheld: repeats the dream]' : words
}

function spellings (dream: string): string[] {
  const escaped = JSON.stringify(dream).slice(1, -1)
  const ascii = escaped.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return [dream, escaped, ascii, encodeURIComponent(dream)]
}

/** Words come with their spaces made single, and escapes in either case. */
function comparable (text: string): string {
  return text.replace(/\s+/g, ' ').trim().toLowerCase()
}

function holdsPieceOf (words: string, text: string): boolean {
  const length = Math.min(telling, text.length)
  for (let start = 0; start + length <= text.length; start++) {
    if (words.includes(text.slice(start, start + length))) return true
  }
  return false
}
