/** This many characters in a row that the dream also has are taken for a part of the dream. */
const minMatchLength = 12

/**
 * Makes a message of the provider fit for a log line: it often repeats the prompt, and a dream is never logged.
 * @returns the message, or a note instead of it where it contains any part of the dream, raw or escaped
 */
export function redactPrompt (message: string, dream: string): string {
  const said = normalize(message)
  return encodings(dream).some((spelling) => containsPart(said, normalize(spelling))) ? '[withheld: repeats the dream]' : message
}

function encodings (dream: string): string[] {
  const escaped = JSON.stringify(dream).slice(1, -1)
  const ascii = escaped.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return [dream, escaped, ascii, encodeURIComponent(dream)]
}

/** Messages have their whitespace collapsed, and escapes in either case. */
function normalize (text: string): string {
  return text.replace(/\s+/g, ' ').trim().toLowerCase()
}

function containsPart (message: string, text: string): boolean {
  const length = Math.min(minMatchLength, text.length)
  for (let start = 0; start + length <= text.length; start++) {
    if (message.includes(text.slice(start, start + length))) return true
  }
  return false
}
