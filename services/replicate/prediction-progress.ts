/** One line of a progress bar is about 100 characters, and logs can be megabytes: only their end is searched. */
const tailLength = 4_000

/** tqdm's line: `12%|█▏  | 6/50 [00:00<00:02, 16.60it/s]`, behind a description or none. */
const bar = /(?<![\d.])(\d{1,3})%\|[^|\r\n]{0,200}\|\s*\d+(?:\.\d+)?[kMG]?\/\d+/g

/** Percent done, a whole number from 0 to 100, by the last progress bar of a prediction's logs; null without one. */
export function parseProgress (logs: string): number | null {
  let percent: number | null = null
  for (const [, digits] of logs.slice(-tailLength).matchAll(bar)) {
    const said = Number(digits)
    if (said <= 100) percent = said
  }
  return percent
}
