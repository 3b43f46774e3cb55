/**
 * Makes an element.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes] false, null and undefined: left out; true: without a value
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function make (name, attributes = {}, ...children) {
  const element = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(attribute, value === true ? '' : String(value))
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

/**
 * A button with an icon of the sprite in index.html.
 * @param {string} icon
 * @param {string} label
 * @param {() => unknown} press
 * @param {{ isQuiet?: boolean }} [options] isQuiet: the label is a tooltip only
 */
export function makeButton (icon, label, press, { isQuiet = false } = {}) {
  const button = make('button', { type: 'button', class: isQuiet ? 'icon' : 'plain', 'aria-label': isQuiet && label, title: isQuiet && label }, makeIcon(icon), !isQuiet && label)
  button.addEventListener('click', press)
  return button
}

/** @param {string} name */
export function makeIcon (name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  const use = document.createElementNS(svg.namespaceURI, 'use')
  use.setAttribute('href', `#icon-${name}`)
  svg.setAttribute('aria-hidden', 'true')
  svg.append(use)
  return svg
}

/**
 * The element with this selector.
 * @template {Element} Kind
 * @param {string} selector
 * @param {new () => Kind} kind
 * @param {ParentNode} [parent]
 * @returns {Kind}
 */
export function find (selector, kind, parent = document) {
  const element = parent.querySelector(selector)
  if (!(element instanceof kind)) throw new Error(`The page has no ${selector}`)
  return element
}

export const prefersStillness = matchMedia('(prefers-reduced-motion: reduce)')

/** Tells those who listen to the page instead of looking at it. An open dialog has its own place for it, the only one that is read then. @param {string} sentence */
export function announce (sentence) {
  const place = document.querySelector('dialog[open] .announcements') ?? find('#announcements', HTMLElement)
  place.textContent = sentence
}

/** Where a dialog has its announcements. */
export function makeAnnouncements () {
  return make('p', { class: 'announcements unseen', role: 'status' })
}

/**
 * Shows a video on the whole screen.
 * @param {HTMLVideoElement | null} video
 * @returns {boolean} whether the browser can do that
 */
export function showFullScreen (video) {
  if (video?.requestFullscreen === undefined) return false
  video.requestFullscreen().catch(() => announce('The browser does not allow the full screen.'))
  return true
}

/**
 * Work that is done once, however often it is called for in one go, such as for each task of a page of the list.
 * @param {() => void} work
 * @returns {() => void}
 */
export function batched (work) {
  let isCalled = false
  return () => {
    if (isCalled) return
    isCalled = true
    queueMicrotask(() => {
      isCalled = false
      work()
    })
  }
}

/**
 * Changes the page in a transition, where the browser has them and motion is wanted.
 * @param {() => void} change
 * @returns {Promise<void>} when it has ended
 */
export async function transition (change) {
  if (document.startViewTransition === undefined || prefersStillness.matches || document.visibilityState === 'hidden') return change()
  const { ready, finished } = document.startViewTransition(change)
  // It is skipped if another one follows at once. The change is made nevertheless.
  ready.catch(() => {})
  await finished
}

/**
 * Copies a text, and says so on the button for a moment.
 * @param {string} text
 * @param {HTMLButtonElement} button
 */
export async function copy (text, button) {
  const isCopied = await writeClipboard(text)
  const sentence = isCopied ? 'Copied' : 'The browser does not allow it'
  button.dataset.said = sentence
  announce(sentence)
  setTimeout(() => { delete button.dataset.said }, 1_600)
}

/** @param {string} text */
async function writeClipboard (text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // Without HTTPS there is no clipboard but this older one.
    const field = make('textarea', { 'aria-hidden': 'true', class: 'unseen' })
    field.value = text
    const focused = document.activeElement
    ;(document.querySelector('dialog[open]') ?? document.body).append(field)
    field.select()
    const isCopied = document.execCommand('copy')
    field.remove()
    if (focused instanceof HTMLElement) focused.focus()
    return isCopied
  }
}
