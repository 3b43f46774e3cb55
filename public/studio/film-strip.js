import { make } from './dom.js'

/** One second of film. */
const frames = 24
const columns = 4

/**
 * A strip of frames that fills as a film is made.
 * @returns {{ element: HTMLElement, show: (progress: { share: number | null, isEstimate: boolean, text: string }) => void, stop: () => void }}
 *   share: from 0 to 1; null if nothing is known of it
 */
export function makeStrip () {
  const element = make('span', { class: 'strip', role: 'progressbar', 'aria-label': 'Progress of the film', 'aria-valuemin': 0, 'aria-valuemax': 100 },
    ...Array.from({ length: frames }, () => make('i')))
  for (const [index, frame] of framesOf(element)) {
    // Which part of the picture that all frames show together.
    frame.style.setProperty('--column', String(index % columns / (columns - 1)))
    frame.style.setProperty('--row', String(Math.floor(index / columns) / (frames / columns - 1)))
  }
  return {
    element,
    show ({ share, text }) {
      const filled = (share ?? 0) * frames
      for (const [index, frame] of framesOf(element)) frame.style.setProperty('--fill', String(Math.min(1, Math.max(0, filled - index))))
      element.toggleAttribute('data-unknown', share === null)
      if (share === null) element.removeAttribute('aria-valuenow')
      else element.setAttribute('aria-valuenow', String(Math.round(share * 100)))
      element.setAttribute('aria-valuetext', text)
    },
    stop () {
      element.removeAttribute('data-unknown')
      element.removeAttribute('role')
      for (const name of ['aria-label', 'aria-valuemin', 'aria-valuemax', 'aria-valuenow', 'aria-valuetext']) element.removeAttribute(name)
    }
  }
}

/** @param {HTMLElement} element */
function framesOf (element) {
  return /** @type {HTMLElement[]} */ ([...element.children]).entries()
}
