/** @import { Task } from '../types.js' */
import { make, showFullScreen } from './dom.js'
import { makeActions } from './film-actions.js'
import { makePlayer } from './film-player.js'
import { makeStrip } from './film-strip.js'
import { library } from './studio.js'
import { isCanceled, isOpen, progressOf, shortTime, stateOf, stateWords } from './words.js'

/** A task on the wall, in each of its states. The frame is a link to its theatre, `#/task_id`. */
export class FilmCard extends HTMLElement {
  /** @type {Task | undefined} */
  #task
  #frame = make('a', { class: 'frame' })
  #dream = make('p', { class: 'dream', dir: 'auto' })
  #state = make('span', { class: 'state' })
  #line = make('p', { class: 'line' })
  #actions = make('span')
  /** @type {ReturnType<typeof makeStrip> | undefined} */
  #strip

  connectedCallback () {
    if (this.childElementCount === 0) this.append(this.#frame, this.#dream, this.#line, this.#actions)
  }

  get task () {
    return this.#task
  }

  set task (task) {
    const before = this.#task
    this.#task = task
    if (task === undefined) return
    this.dataset.id = task.task_id
    this.dataset.style = task.style
    if (before === undefined) {
      this.#frame.href = `#/${task.task_id}`
      this.#dream.textContent = task.dream
      this.#line.append(`${task.style} · `, this.#state, make('time', { datetime: task.created_at, title: new Date(task.created_at).toLocaleString() }, ` · ${shortTime(task.created_at)}`))
    }
    if (before?.status !== task.status || before.video_url !== task.video_url) this.#build(task, before)
    this.tick()
  }

  /** Writes again what changes with the time. */
  tick () {
    const task = this.#task
    if (task === undefined || !isOpen(task)) return
    const progress = progressOf(task, { usualSeconds: library.usualSeconds(task.style) })
    this.#state.textContent = progress.text
    this.#strip?.show(progress)
  }

  /**
   * @param {Task} task
   * @param {Task | undefined} before
   */
  #build (task, before) {
    const isArrival = before !== undefined && isOpen(before)
    this.dataset.state = stateOf(task)
    this.#state.textContent = stateWords(task)
    this.#label(stateWords(task), task.dream, task.error)
    const actions = makeActions(task, {
      fullScreen: () => showFullScreen(this.querySelector('video')) || this.#frame.click(),
      onLeave: () => {}
    })
    const hadFocus = this.#actions.contains(document.activeElement)
    this.#actions.replaceWith(actions)
    this.#actions = actions
    if (hadFocus) this.#frame.focus()
    if (task.video_url !== null) return this.#showFilm(task, task.video_url, isArrival)
    this.#strip ??= makeStrip()
    const words = make('span', { class: 'words' }, task.error ?? '')
    this.#frame.replaceChildren(this.#strip.element, ...task.error === null || isCanceled(task) ? [] : [words])
    if (!isOpen(task)) this.#strip.stop()
  }

  /**
   * @param {Task} task
   * @param {string} video
   * @param {boolean} isArrival  whether the film was in the making before
   */
  #showFilm ({ poster_url: poster }, video, isArrival) {
    const player = makePlayer({
      video,
      poster,
      onColour: (colour) => this.style.setProperty('--light', colour),
      onRatio: (ratio) => this.dispatchEvent(new CustomEvent('ratio', { detail: ratio, bubbles: true })),
      onGone: () => this.#showGone()
    })
    if (isArrival) {
      this.#strip?.show({ share: 1, isEstimate: false, text: '' })
      this.#strip?.stop()
      player.classList.add('arriving')
      this.#frame.append(player)
    } else {
      this.#frame.replaceChildren(player)
    }
  }

  /** What the link says to those who do not see it. @param {...(string | null)} parts */
  #label (...parts) {
    this.#frame.setAttribute('aria-label', parts.filter(Boolean).join(': '))
  }

  #showGone () {
    this.#label(this.#task?.dream ?? null, 'This film is no longer kept.')
    this.dataset.state = 'gone'
    this.#state.textContent = 'No longer kept'
    this.#frame.append(make('span', { class: 'words' }, 'This film is no longer kept.'))
  }
}
