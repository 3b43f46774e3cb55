/** @import { Style } from '../types.js' */
import { serviceUrl } from './api.js'
import { codeLines, languages } from './code-lines.js'
import { copy, make, makeButton } from './dom.js'
import { local } from './storage.js'
import { api, studio } from './studio.js'

const languageName = 'dreamreel.language'

/** The lines of code that do what the page does, in tabs. Call `write` whenever that changes. */
export class UseFromCode extends HTMLElement {
  /** @type {{ dream: string, style: Style, taskId?: string } | undefined} */
  #work
  #language = languages.find((language) => language === local.get(languageName)) ?? languages[0]
  #code = make('code')
  #panel = make('div', { class: 'panel', role: 'tabpanel', tabindex: 0 }, make('pre', {}, this.#code))
  #tabs = languages.map((language) => {
    const tab = make('button', { type: 'button', role: 'tab' }, language)
    tab.addEventListener('click', () => this.#choose(language))
    return tab
  })

  #copy = makeButton('copy', 'Copy', () => copy(this.#code.textContent ?? '', this.#copy))
  #list = make('div', { role: 'tablist', 'aria-label': 'Language' }, ...this.#tabs)
  #onKey = () => this.#show()

  connectedCallback () {
    if (this.childElementCount === 0) {
      this.append(
        make('div', { class: 'row' }, this.#list, this.#copy),
        this.#panel,
        make('p', { class: 'quiet' }, 'Everything else: ', make('a', { href: `${serviceUrl}docs` }, 'try each call'), ' or take the ', make('a', { href: `${serviceUrl}openapi.json` }, 'OpenAPI document'), '.')
      )
      this.#list.addEventListener('keydown', (event) => this.#move(event))
    }
    studio.addEventListener('key', this.#onKey)
    this.#show()
  }

  disconnectedCallback () {
    studio.removeEventListener('key', this.#onKey)
  }

  /** @param {{ dream: string, style: Style, taskId?: string }} work */
  write (work) {
    this.#work = work
    this.#show()
  }

  /** @param {typeof languages[number]} language */
  #choose (language) {
    this.#language = language
    local.set(languageName, language)
    this.#show()
  }

  /** The arrow keys lead from tab to tab. @param {KeyboardEvent} event */
  #move (event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (step === undefined) return
    event.preventDefault()
    event.stopPropagation()
    const index = (languages.indexOf(this.#language) + step + languages.length) % languages.length
    this.#choose(languages[index] ?? languages[0])
    this.#tabs[index]?.focus()
  }

  #show () {
    for (const [index, tab] of this.#tabs.entries()) {
      const isChosen = languages[index] === this.#language
      tab.setAttribute('aria-selected', String(isChosen))
      tab.tabIndex = isChosen ? 0 : -1
    }
    this.#panel.setAttribute('aria-label', this.#language)
    if (this.#work !== undefined) this.#code.textContent = codeLines(this.#language, { ...this.#work, serviceUrl, hasKey: api.key !== null })
  }
}

customElements.define('use-from-code', UseFromCode)
