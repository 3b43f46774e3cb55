/** @import { Task } from '../types.js' */
import { batched, find, make, makeButton } from './dom.js'
import { sentenceOf } from './dream-form.js'
import { FilmCard } from './film-card.js'
import { local } from './storage.js'
import { askForKey, library, live, studio } from './studio.js'
import { exampleDreams, isOpen } from './words.js'

const tickMs = 1_000
const ratioName = 'dreamreel.ratio'

/** All films that the page knows, newest first, and more of them as the user scrolls. */
export class FilmWall extends HTMLElement {
  /** By the id of the task. @type {Map<string, FilmCard>} */
  #cards = new Map()
  #films = find('#films', HTMLElement, this)
  #note = find('#wall-note', HTMLElement, this)
  #filters = find('form', HTMLFormElement, this)
  #more = find('#more', HTMLButtonElement, this)
  /** @type {string | null} */
  #cursor = null
  #isLoading = false
  /** +1 with each list that is begun anew: what an older one still brings is not for this one. */
  #round = 0

  connectedCallback () {
    this.#setRatio(Number(local.get(ratioName)) || 9 / 16)
    library.addEventListener('change', (event) => this.#show(/** @type {CustomEvent<Task>} */ (event).detail))
    library.addEventListener('remove', (event) => this.#drop(/** @type {CustomEvent<string>} */ (event).detail))
    studio.addEventListener('key', () => {
      library.clear()
      this.#restart()
    })
    live.addEventListener('reachable', () => { if (this.#cards.size === 0) this.#restart() })
    this.#films.addEventListener('ratio', (event) => this.#takeRatio(/** @type {CustomEvent<number>} */ (event).detail))
    this.#filters.addEventListener('submit', (event) => event.preventDefault())
    this.#filters.addEventListener('change', (event) => { if (event.target instanceof HTMLSelectElement) this.#restart() })
    this.#filters.addEventListener('input', () => this.#applyFilters())
    this.#more.addEventListener('click', () => this.#loadMore())
    new IntersectionObserver(([entry]) => { if (entry?.isIntersecting === true && this.#query.search === '') this.#loadMore() }, { rootMargin: '800px' }).observe(this.#more)
    setInterval(() => this.#tick(), tickMs)
    this.#restart()
  }

  get #query () {
    const data = new FormData(this.#filters)
    const [status, style, search] = ['status', 'style', 'search'].map((name) => String(data.get(name) ?? ''))
    return { status, style, search: (search ?? '').trim().toLocaleLowerCase() }
  }

  /** Shows all films again, so that a new one is among them. */
  resetFilters () {
    const { status, style, search } = this.#query
    if (status === '' && style === '' && search === '') return
    this.#filters.reset()
    this.#restart()
  }

  /** Loads the list from its beginning. */
  async #restart () {
    this.#round++
    this.#cursor = null
    this.#isLoading = false
    this.#more.hidden = true
    this.#applyFilters()
    await this.#loadMore()
  }

  async #loadMore () {
    if (this.#isLoading) return
    this.#isLoading = true
    const round = this.#round
    const { status, style } = this.#query
    try {
      const next = await library.load({ status, style, cursor: this.#cursor })
      if (round !== this.#round) return
      live.note()
      this.#isLoading = false
      this.#cursor = next
      this.#more.hidden = next === null
      this.#applyFilters()
    } catch (error) {
      if (round !== this.#round) return
      live.note(error)
      this.#isLoading = false
      this.#more.hidden = false
      this.#say(sentenceOf(error))
      return
    }
    // The observer speaks only when the button comes into sight: if it still is, the next page follows.
    if (!this.#more.hidden && this.#query.search === '' && this.#more.getBoundingClientRect().top < innerHeight + 800) await this.#loadMore()
  }

  /** @param {Task} task */
  #show (task) {
    const known = this.#cards.get(task.task_id)
    if (known !== undefined) {
      known.task = task
    } else {
      const card = new FilmCard()
      card.task = task
      const next = [...this.#films.children].find((other) => other instanceof FilmCard && (other.dataset.id ?? '') < task.task_id)
      this.#films.insertBefore(card, next ?? null)
      this.#cards.set(task.task_id, card)
    }
    this.#filterSoon()
  }

  /** @param {string} id */
  #drop (id) {
    const card = this.#cards.get(id)
    const { activeElement } = document
    const neighbour = card?.nextElementSibling ?? card?.previousElementSibling
    card?.remove()
    this.#cards.delete(id)
    if (activeElement !== document.activeElement) neighbour?.querySelector('a')?.focus()
    this.#filterSoon()
  }

  #filterSoon = batched(() => this.#applyFilters())

  #applyFilters () {
    const query = this.#query
    let shown = 0
    for (const card of this.#cards.values()) {
      const { task } = card
      card.hidden = task === undefined || !matches(task, query)
      if (!card.hidden) shown++
    }
    this.#filters.hidden = this.#cards.size === 0 && query.status === '' && query.style === ''
    this.#describe(shown, query)
  }

  /**
   * Says why the wall is empty, or what it does not show.
   * @param {number} shown
   * @param {{ status: string | undefined, style: string | undefined, search: string }} query
   */
  #describe (shown, { status, style, search }) {
    if (this.#isLoading) return
    if (search !== '') return this.#say(`${shown} of ${this.#cards.size} loaded films ${shown === 1 ? 'matches' : 'match'} “${search}”.`)
    if (shown === 0 && (status !== '' || style !== '')) return this.#say('No film is like that.')
    if (library.refusal?.isAboutKey === true) {
      const sentence = shown === 0 ? 'With an API key, all films of the key are here.' : 'These are films that this browser has made. With an API key, all films of the key are here.'
      return this.#say(sentence, makeButton('key', 'Enter a key', () => askForKey()))
    }
    if (shown > 0) return this.#say('')
    this.#say('Nothing has been dreamt here yet. Begin with one of these:', ...exampleDreams.slice(0, 3).map((dream) => {
      const example = make('button', { type: 'button', class: 'example' }, dream)
      example.addEventListener('click', () => studio.dispatchEvent(new CustomEvent('fill', { detail: { dream } })))
      return example
    }))
  }

  /**
   * @param {string} sentence
   * @param {...HTMLElement} actions
   */
  #say (sentence, ...actions) {
    if (this.#note.firstChild?.textContent === sentence && this.#note.childElementCount === actions.length + 1) return
    this.#note.replaceChildren(make('span', {}, sentence), ...actions)
  }

  #tick () {
    if (document.visibilityState === 'hidden') return
    for (const task of library.tasks) if (isOpen(task)) this.#cards.get(task.task_id)?.tick()
  }

  /** The frames of the wall have the shape of the films that the service makes. @param {number} ratio width by height */
  #takeRatio (ratio) {
    if (this.#hasRatio || !(ratio > 0 && ratio < Infinity)) return
    this.#hasRatio = true
    local.set(ratioName, String(ratio))
    this.#setRatio(ratio)
  }

  #hasRatio = false

  /** @param {number} ratio */
  #setRatio (ratio) {
    this.style.setProperty('--ratio', String(ratio))
    this.toggleAttribute('data-wide', ratio > 1.2)
  }
}

/**
 * @param {Task} task
 * @param {{ status: string | undefined, style: string | undefined, search: string }} query
 */
function matches (task, { status, style, search }) {
  return (!status || task.status === status) && (!style || task.style === style) && task.dream.toLocaleLowerCase().includes(search)
}
