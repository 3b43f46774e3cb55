/** @import { Creation, Style, Task } from '../types.js' */
/** @import { ApiError } from './api.js' */
import { announce, batched, find } from './dom.js'
import { DreamForm, sentenceOf } from './dream-form.js'
import { FilmCard } from './film-card.js'
import { FilmWall } from './film-wall.js'
import { followAddress } from './navigation.js'
import { local } from './storage.js'
import { api, askForKey, create, library, live, studio } from './studio.js'
import { isOpen, stateWords } from './words.js'

customElements.define('film-card', FilmCard)
customElements.define('dream-form', DreamForm)
customElements.define('film-wall', FilmWall)

/** px of a new card that are to be seen. */
const leastInView = 160

const form = find('dream-form', DreamForm)
const wall = find('film-wall', FilmWall)

form.usualSeconds = (/** @type {Style} */ style) => library.usualSeconds(style)
form.onCreate = async (/** @type {Creation} */ creation) => {
  const task = await create(creation)
  wall.resetFilters()
  const card = find(`film-card[data-id="${task.task_id}"]`, FilmCard)
  if (card.getBoundingClientRect().top > innerHeight - leastInView) card.scrollIntoView({ block: 'center' })
  announce('Your dream is in line.')
}
studio.addEventListener('fill', (event) => form.fill(/** @type {CustomEvent} */ (event).detail))

const showUsual = batched(() => form.showUsual())

/** Which films were seen unfinished, so that their end is told. @type {Set<string>} */
const unfinished = new Set()
library.addEventListener('change', (event) => {
  const task = /** @type {CustomEvent<Task>} */ (event).detail
  if (isOpen(task)) unfinished.add(task.task_id)
  else if (unfinished.delete(task.task_id)) announceEnd(task)
  if (task.status === 'completed') showUsual()
  writeTitle()
})
library.addEventListener('remove', (event) => {
  unfinished.delete(/** @type {CustomEvent<string>} */ (event).detail)
  writeTitle()
})

/** @param {Task} task */
function announceEnd ({ status, dream, error }) {
  announce(status === 'completed' ? `Your film is ready: ${dream}` : error ?? '')
  lastEnd = status === 'completed' ? 'Film ready' : 'Failed'
}

/** What ended while the page was not looked at. */
let lastEnd = ''
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') lastEnd = ''
  writeTitle()
})

const writeTitle = batched(() => {
  const open = library.tasks.filter(isOpen)
  const [newest] = open
  const state = newest === undefined ? document.visibilityState === 'hidden' ? lastEnd : '' : newest.progress === null ? stateWords(newest) : `${newest.progress} %`
  const more = open.length > 1 ? ` (${open.length})` : ''
  document.title = state ? `${state}${more} · Dreamreel` : 'Dreamreel'
})

const connection = find('#connection', HTMLElement)
const tellMs = 8_000
/** @param {string} sentence that is shown for some seconds */
function tell (sentence) {
  connection.textContent = sentence
  setTimeout(() => { if (connection.textContent === sentence) connection.textContent = '' }, tellMs)
}
live.addEventListener('unreachable', () => {
  connection.textContent = library.tasks.some(isOpen)
    ? 'The server cannot be reached. Your film goes on being made; this page looks again every few seconds.'
    : 'The server cannot be reached. This page looks again every few seconds.'
  // The line itself is not read while a dialog is open.
  if (document.querySelector('dialog[open]') !== null) announce(connection.textContent)
  document.documentElement.toggleAttribute('data-lost', true)
})
live.addEventListener('reachable', () => {
  connection.textContent = ''
  document.documentElement.toggleAttribute('data-lost', false)
})

/**
 * Parts of the page that are loaded when they are first wanted cannot be loaded while the server is lost.
 * @param {Promise<unknown>} work
 */
const orTell = (work) => work.catch((error) => tell(sentenceOf(error)))
live.addEventListener('refused', (event) => orTell(askForKey(/** @type {CustomEvent<ApiError>} */ (event).detail)))
find('#key-button', HTMLButtonElement).addEventListener('click', () => orTell(askForKey()))
const writeKeyButton = () => { find('#key-button span', HTMLElement).textContent = api.key === null ? 'API key' : 'API key in use' }
studio.addEventListener('key', writeKeyButton)
writeKeyButton()

find('#theme-button', HTMLButtonElement).addEventListener('click', () => {
  const isDark = getComputedStyle(document.documentElement).colorScheme === 'dark' || (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches)
  const theme = isDark ? 'light' : 'dark'
  document.documentElement.dataset.theme = theme
  local.set('dreamreel.theme', theme)
})

const status = find('#status', HTMLDetailsElement)
const showStatus = async () => {
  status.querySelector('service-status')?.remove()
  const { ServiceStatusStrip } = await import('./service-status.js')
  if (!status.open || status.querySelector('service-status') !== null) return
  status.append(new ServiceStatusStrip())
  status.scrollIntoView({ block: 'nearest' })
}
status.addEventListener('toggle', () => orTell(showStatus()))

const code = find('#code', HTMLDetailsElement)
const showCode = async () => {
  if (!code.open) return
  const { UseFromCode } = await import('./use-from-code.js')
  if (code.querySelector('use-from-code') === null) code.append(new UseFromCode())
  find('use-from-code', UseFromCode, code).write({ dream: form.dream || form.example, style: form.chosenStyle })
}
code.addEventListener('toggle', () => orTell(showCode()))
form.addEventListener('change-form', () => orTell(showCode()))

followAddress(tell)
