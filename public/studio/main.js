/** @import { Creation, Style, Task } from '../types.js' */
import { announce, find, transition } from './dom.js'
import { DreamForm } from './dream-form.js'
import { FilmCard } from './film-card.js'
import { FilmWall } from './film-wall.js'
import { api, askForKey, create, library, live, studio, withKey } from './studio.js'
import { isOpen, progressOf } from './words.js'

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

/** Which films were seen unfinished, so that their end is told. @type {Set<string>} */
const unfinished = new Set()
library.addEventListener('change', (event) => {
  const task = /** @type {CustomEvent<Task>} */ (event).detail
  if (isOpen(task)) unfinished.add(task.task_id)
  else if (unfinished.delete(task.task_id)) announceEnd(task)
  if (task.status === 'completed') form.showUsual()
  writeTitle()
})
library.addEventListener('remove', writeTitle)

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

function writeTitle () {
  const open = library.tasks.filter(isOpen)
  const [newest] = open
  const state = newest === undefined ? document.visibilityState === 'hidden' ? lastEnd : '' : newest.progress === null ? progressOf(newest, { usualSeconds: undefined }).text.split(',')[0] : `${newest.progress} %`
  const more = open.length > 1 ? ` (${open.length})` : ''
  document.title = state ? `${state}${more} · Dreamreel` : 'Dreamreel'
}

const connection = find('#connection', HTMLElement)
live.addEventListener('unreachable', () => {
  connection.textContent = library.tasks.some(isOpen)
    ? 'The server cannot be reached. Your film goes on being made; this page looks again every few seconds.'
    : 'The server cannot be reached.'
  document.documentElement.toggleAttribute('data-lost', true)
})
live.addEventListener('reachable', () => {
  connection.textContent = ''
  document.documentElement.toggleAttribute('data-lost', false)
})

find('#key-button', HTMLButtonElement).addEventListener('click', () => askForKey())
const writeKeyButton = () => { find('#key-button span', HTMLElement).textContent = api.key === null ? 'API key' : 'API key in use' }
studio.addEventListener('key', writeKeyButton)
writeKeyButton()

find('#theme-button', HTMLButtonElement).addEventListener('click', () => {
  const isDark = getComputedStyle(document.documentElement).colorScheme === 'dark' || (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches)
  const theme = isDark ? 'light' : 'dark'
  document.documentElement.dataset.theme = theme
  localStorage.setItem('dreamreel.theme', theme)
})

const status = find('#status', HTMLDetailsElement)
status.addEventListener('toggle', async () => {
  status.querySelector('service-status')?.remove()
  const { ServiceStatusStrip } = await import('./service-status.js')
  if (status.open) status.append(new ServiceStatusStrip())
})

const code = find('#code', HTMLDetailsElement)
const showCode = async () => {
  if (!code.open) return
  const { UseFromCode } = await import('./use-from-code.js')
  if (code.querySelector('use-from-code') === null) code.append(new UseFromCode())
  find('use-from-code', UseFromCode, code).write({ dream: form.dream || form.example, style: form.chosenStyle })
}
code.addEventListener('toggle', showCode)
form.addEventListener('change-form', showCode)

/** @type {import('./film-theatre.js').FilmTheatre | undefined} */
let theatre
/** Shows the film of the address, `#/task_id`, or the wall. */
async function showAddress () {
  const id = location.hash.match(/^#\/([\w-]+)$/)?.[1]
  if (theatre?.taskId === id) return
  const card = document.querySelector(`film-card[data-id="${id ?? theatre?.taskId}"]`)
  const frame = card?.querySelector('.frame') ?? null
  const before = theatre
  theatre = undefined
  if (id === undefined) {
    if (before === undefined) return
    await morph(frame, () => before.remove())
    if (frame instanceof HTMLElement) frame.focus({ preventScroll: false })
    return
  }
  const [{ FilmTheatre }, task] = await Promise.all([import('./film-theatre.js'), library.get(id) ?? withKey(() => api.get(id)).catch(() => undefined)])
  if (task === undefined) {
    announce('There is no such film.')
    connection.textContent = 'There is no such film, or it is no longer kept.'
    return history.replaceState(null, '', location.pathname + location.search)
  }
  library.put(task)
  const opened = new FilmTheatre(task)
  theatre = opened
  opened.addEventListener('leave', () => { location.hash = '' })
  await morph(frame, () => {
    before?.remove()
    document.body.append(opened)
  })
}

/**
 * Lets the frame of a card become the screen of the theatre, or the other way round.
 * @param {Element | null} frame
 * @param {() => void} change
 */
async function morph (frame, change) {
  const isOpening = theatre !== undefined
  frame?.classList.toggle('morphing', isOpening)
  await transition(() => {
    change()
    frame?.classList.toggle('morphing', !isOpening)
  })
  frame?.classList.remove('morphing')
}

addEventListener('hashchange', showAddress)
showAddress()
