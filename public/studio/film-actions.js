/** @import { Task } from '../types.js' */
import { announce, copy, make, makeButton, makeIcon } from './dom.js'
import { sentenceOf } from './dream-form.js'
import { cancel, change, library, remove, retry } from './studio.js'
import { isOpen, mustChange } from './words.js'

const confirmMs = 4_000

/**
 * What can be done with a film in its state, as a row of buttons.
 * @param {Task} task
 * @param {{ fullScreen: () => unknown, onLeave: () => void }} options onLeave: called before the page shows something else
 */
export function makeActions (task, { fullScreen, onLeave }) {
  const row = make('span', { class: 'actions' })
  const fault = make('span', { class: 'fault', role: 'alert' })
  const add = (/** @type {HTMLElement[]} */ ...buttons) => row.append(...buttons)

  /** @param {() => Promise<unknown>} work */
  const run = (work) => async () => {
    if (row.ariaBusy === 'true') return
    fault.textContent = ''
    row.ariaBusy = 'true'
    try {
      await work()
    } catch (error) {
      fault.textContent = sentenceOf(error)
    } finally {
      row.ariaBusy = 'false'
    }
  }

  if (isOpen(task)) add(makeButton('stop', 'Cancel', run(() => cancel(task))))
  if (task.status === 'failed') {
    const again = makeButton('again', 'Try again', run(async () => {
      const next = await retry(task)
      onLeave()
      const card = document.querySelector(`film-card[data-id="${next.task_id}"]`)
      card?.scrollIntoView({ block: 'nearest' })
      card?.querySelector('a')?.focus()
      announce(next.status === 'failed' ? 'The film has failed again.' : 'The film is being made again.')
    }))
    const another = makeButton('pen', 'Change the dream', () => {
      onLeave()
      change(task)
    })
    add(...mustChange(task) ? [another] : [again])
  }
  const { video_url: video } = task
  if (video !== null) {
    const download = make('a', { class: 'icon', href: `${video}?download=1`, download: true, 'aria-label': 'Download', title: 'Download' }, makeIcon('download'))
    const link = makeButton('link', 'Copy link', () => copy(video, link), { isQuiet: true })
    add(download, link, makeButton('full', 'Full screen', fullScreen, { isQuiet: true }))
  }
  if (!isOpen(task) && library.canRemove) add(makeRemoval(run(() => remove(task))))
  row.append(fault)
  return row
}

/** A button that removes at its second press. @param {() => unknown} work */
function makeRemoval (work) {
  /** @type {number | undefined} */
  let timer
  const button = makeButton('bin', 'Delete', () => {
    if (button.dataset.said === undefined) {
      button.dataset.said = 'Press again to delete'
      button.setAttribute('aria-label', 'Press again to delete this film for good')
      announce('Press again to delete this film for good.')
      timer = setTimeout(reset, confirmMs)
    } else {
      reset()
      work()
    }
  }, { isQuiet: true })
  const reset = () => {
    clearTimeout(timer)
    delete button.dataset.said
    button.setAttribute('aria-label', 'Delete')
  }
  return button
}
