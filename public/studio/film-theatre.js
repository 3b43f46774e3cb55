/** @import { Task } from '../types.js' */
import { make, makeAnnouncements, makeButton, prefersStillness, showFullScreen } from './dom.js'
import { makeActions } from './film-actions.js'
import { mainColour } from './film-colour.js'
import { isGone } from './film-player.js'
import { makeStrip } from './film-strip.js'
import { library } from './studio.js'
import { UseFromCode } from './use-from-code.js'
import { isCanceled, isOpen, progressOf, stateOf, stateWords } from './words.js'

/** One film in a dark room, with its dream beside it. Escape closes it. It emits `leave` when it is to be closed. */
export class FilmTheatre extends HTMLElement {
  /** @type {Task} */
  #task
  #screen = make('div', { class: 'screen' })
  #state = make('p', { class: 'line' })
  #actions = make('span')
  #code = new UseFromCode()
  #dream = make('h2', { class: 'dream', dir: 'auto', id: 'theatre-dream' })
  #dialog = make('dialog', { class: 'theatre', 'aria-labelledby': 'theatre-dream' })
  #strip = makeStrip()
  #onChange = (/** @type {Event} */ event) => {
    const { detail } = /** @type {CustomEvent<Task>} */ (event)
    if (detail.task_id === this.#task.task_id) this.#update(detail)
  }

  #onRemove = (/** @type {Event} */ event) => {
    if (/** @type {CustomEvent<string>} */ (event).detail === this.#task.task_id) this.#leave()
  }

  /** @type {number | undefined} */
  #timer

  /** @param {Task} task */
  constructor (task) {
    super()
    this.#task = task
    const drawer = make('details', { class: 'code' }, make('summary', {}, 'Use it from code'), this.#code)
    const close = makeButton('close', 'Close', () => this.#leave(), { isQuiet: true })
    close.classList.add('close')
    this.#dialog.append(makeAnnouncements(), this.#screen, make('div', { class: 'beside' }, this.#dream, this.#state, this.#actions, drawer), close)
    this.#dialog.addEventListener('cancel', (event) => {
      event.preventDefault()
      this.#leave()
    })
    // The browser may close it without asking.
    this.#dialog.addEventListener('close', () => this.#leave())
  }

  connectedCallback () {
    this.append(this.#dialog)
    library.addEventListener('change', this.#onChange)
    library.addEventListener('remove', this.#onRemove)
    this.#timer = setInterval(() => this.#tick(), 1_000)
    this.#build(this.#task)
    this.#dialog.showModal()
  }

  disconnectedCallback () {
    library.removeEventListener('change', this.#onChange)
    library.removeEventListener('remove', this.#onRemove)
    clearInterval(this.#timer)
  }

  get taskId () {
    return this.#task.task_id
  }

  #leave () {
    this.dispatchEvent(new Event('leave'))
  }

  /** @param {Task} task */
  #update (task) {
    const before = this.#task
    this.#task = task
    if (before.status !== task.status || before.video_url !== task.video_url) this.#build(task)
    else this.#tick()
  }

  /** @param {Task} task */
  #build (task) {
    this.dataset.style = task.style
    this.dataset.state = stateOf(task)
    this.#dream.textContent = task.dream
    this.#code.write({ dream: task.dream, style: task.style, taskId: task.task_id })
    const actions = makeActions(task, { fullScreen: () => showFullScreen(this.#dialog.querySelector('video')), onLeave: () => this.#leave() })
    this.#actions.replaceWith(actions)
    this.#actions = actions
    this.#screen.replaceChildren(...task.video_url === null ? this.#withoutFilm(task) : [this.#makeVideo(task.video_url, task.poster_url)])
    this.#tick()
  }

  /** @param {Task} task */
  #withoutFilm (task) {
    const words = make('p', { class: 'words' }, isCanceled(task) ? 'This film was cancelled.' : task.error)
    if (!isOpen(task)) this.#strip.stop()
    return [this.#strip.element, ...isOpen(task) ? [] : [words]]
  }

  /**
   * @param {string} address
   * @param {string | null} poster
   */
  #makeVideo (address, poster) {
    const video = make('video', { controls: true, loop: true, muted: true, playsinline: true, poster, src: address, 'aria-label': `Film: ${this.#task.dream}` })
    video.muted = true
    video.autoplay = !prefersStillness.matches
    video.addEventListener('loadedmetadata', () => this.#dialog.style.setProperty('--ratio', String(video.videoWidth / video.videoHeight)), { once: true })
    video.addEventListener('loadeddata', () => {
      const colour = mainColour(video)
      if (colour !== undefined) this.style.setProperty('--light', colour)
    }, { once: true })
    video.addEventListener('error', async () => {
      const words = await isGone(address) ? 'This film is no longer kept.' : 'This film cannot be played at the moment. Close it and open it again.'
      this.#screen.replaceChildren(make('p', { class: 'words' }, words))
    }, { once: true })
    return video
  }

  #tick () {
    const task = this.#task
    const made = new Date(task.created_at).toLocaleString('en-GB', { dateStyle: 'long', timeStyle: 'short' })
    let state = stateWords(task)
    if (isOpen(task)) {
      const progress = progressOf(task, { usualSeconds: library.usualSeconds(task.style) })
      this.#strip.show(progress)
      state = progress.text
    }
    const kept = task.expires_at === null ? '' : `, kept until ${new Date(task.expires_at).toLocaleDateString('en-GB', { dateStyle: 'long' })}`
    this.#state.textContent = `${task.style} · ${state} · ${made}${kept}`
  }
}

customElements.define('film-theatre', FilmTheatre)
