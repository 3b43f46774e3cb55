import { ApiError } from './api.js'
import { transition } from './dom.js'
import { sentenceOf } from './dream-form.js'
import { api, library, withKey } from './studio.js'

/** @type {import('./film-theatre.js').FilmTheatre | undefined} */
let theatre

/**
 * Shows what the address names, now and whenever it changes: a film in the theatre for `#/task_id`, else the wall.
 * @param {(sentence: string) => void} tell shows why a film cannot be shown
 */
export function followAddress (tell) {
  addEventListener('hashchange', () => showAddress(tell))
  showAddress(tell)
}

const addressedId = () => location.hash.match(/^#\/([\w-]+)$/)?.[1]

/** @param {(sentence: string) => void} tell */
async function showAddress (tell) {
  const id = addressedId()
  if (theatre?.taskId === id) return
  if (id === undefined) return closeTheatre()
  try {
    const [{ FilmTheatre }, task] = await Promise.all([import('./film-theatre.js'), library.get(id) ?? withKey(() => api.get(id))])
    // The user may have gone on meanwhile.
    if (addressedId() !== id) return
    library.put(task)
    const opened = new FilmTheatre(task)
    const before = theatre
    theatre = opened
    opened.addEventListener('leave', () => { if (theatre === opened) showWall() })
    await morph(frameOf(id), () => {
      before?.remove()
      document.body.append(opened)
    })
  } catch (error) {
    if (addressedId() !== id) return
    await closeTheatre()
    const isGone = error instanceof ApiError && error.status === 404
    tell(isGone ? 'There is no such film, or it is no longer kept.' : sentenceOf(error))
    if (isGone) showWall()
  }
}

/** Changes the address to that of the wall, which stays where it is. */
function showWall () {
  history.pushState(null, '', location.pathname + location.search)
  closeTheatre()
}

async function closeTheatre () {
  if (theatre === undefined) return
  const closed = theatre
  const frame = frameOf(closed.taskId)
  theatre = undefined
  await morph(frame, () => closed.remove())
  frame?.focus()
}

/**
 * @param {string} id
 * @returns {HTMLElement | null}
 */
function frameOf (id) {
  return document.querySelector(`film-card[data-id="${id}"] .frame`)
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
