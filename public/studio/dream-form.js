/** @import { Creation, Style } from '../types.js' */
import { ApiError, UnreachableError } from './api.js'
import { announce, find, prefersStillness } from './dom.js'
import { session } from './storage.js'
import { duration, exampleDreams } from './words.js'

const maxLength = 2_000
const showCountFrom = 1_800
const exampleMs = 6_000
const creationName = 'dreamreel.creation'
/** A browser can bring back a tab after days, when the key of a creation no longer prevents a second task. */
const maxResumeMs = 10 * 60 * 1_000

/**
 * The form for a new film. Its fields stand in index.html, so that they are there before any script. `onCreate` creates the task; it may be
 * called again with the same creation after a reload or a failure, and then must not make a second one.
 */
export class DreamForm extends HTMLElement {
  /** @type {(creation: Creation) => Promise<void>} */
  onCreate = async () => {}
  /** The seconds that a film of this style usually takes. @type {(style: Style) => number | undefined} */
  usualSeconds = () => undefined
  #field = find('#dream', HTMLTextAreaElement, this)
  #fault = find('#dream-fault', HTMLElement, this)
  #count = find('#dream-count', HTMLElement, this)
  #button = find('#create', HTMLButtonElement, this)
  #usual = find('#usual', HTMLElement, this)
  #form = find('form', HTMLFormElement, this)
  /** Whether the browser goes to another page, or loads this one anew. */
  #isLeft = false
  #isSending = false

  connectedCallback () {
    addEventListener('pagehide', () => { this.#isLeft = true })
    addEventListener('pageshow', () => { this.#isLeft = false })
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#submit()
    })
    this.#form.addEventListener('input', () => this.#changed())
    this.#form.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || !(event.metaKey || event.ctrlKey) || event.isComposing) return
      event.preventDefault()
      this.#form.requestSubmit()
    })
    this.#turnExamples()
    this.#changed()
    this.#resume()
  }

  get dream () {
    return this.#field.value.trim()
  }

  /** The dream that the field shows while it is empty. */
  get example () {
    return this.#field.placeholder
  }

  get chosenStyle () {
    return /** @type {Style} */ (new FormData(this.#form).get('style'))
  }

  /**
   * Puts a dream into the form, for the user to change or to send.
   * @param {{ dream: string, style?: Style }} given
   */
  fill ({ dream, style }) {
    this.#field.value = dream
    if (style !== undefined) find(`input[value="${style}"]`, HTMLInputElement, this).checked = true
    this.#changed()
    this.#field.focus()
    this.#field.setSelectionRange(dream.length, dream.length)
    this.scrollIntoView({ block: 'nearest', behavior: prefersStillness.matches ? 'auto' : 'smooth' })
  }

  /** Writes how long a film of the chosen style takes, where that is known. */
  showUsual () {
    const seconds = this.usualSeconds(this.chosenStyle)
    this.#usual.textContent = seconds === undefined ? '' : `about ${duration(seconds)}`
  }

  #changed () {
    const length = [...this.dream].length
    this.#fit(length)
    this.#count.textContent = length >= showCountFrom ? `${length} of ${maxLength} characters` : ''
    this.#showFault(length > maxLength ? `A dream has at most ${maxLength.toLocaleString('en')} characters. Take out ${length - maxLength}.` : '')
    this.showUsual()
    this.dispatchEvent(new Event('change-form'))
  }

  /** A long dream is set smaller, and the field grows with it. @param {number} length */
  #fit (length) {
    const { style } = this.#field
    style.setProperty('--length', String(length))
    if (CSS.supports('field-sizing', 'content')) return
    style.height = 'auto'
    style.height = `${this.#field.scrollHeight}px`
  }

  /** @param {string} sentence '' if there is no fault */
  #showFault (sentence) {
    this.#fault.textContent = sentence
    this.#field.setAttribute('aria-invalid', String(sentence !== ''))
  }

  #submit () {
    const { dream, chosenStyle: style } = this
    if (dream === '') {
      this.#showFault('Tell a dream first.')
      return this.#field.focus()
    }
    if ([...dream].length > maxLength) return this.#field.focus()
    const failed = readStored()
    const isSame = failed?.dream === dream && failed.style === style
    return this.#create({ dream, style, idempotencyKey: isSame ? failed.idempotencyKey : newIdempotencyKey() })
  }

  /** @param {Creation} creation */
  async #create (creation) {
    if (this.#isSending) return
    this.#isSending = true
    // Not `disabled`, which would take the focus away.
    this.#button.setAttribute('aria-disabled', 'true')
    store({ ...creation, isSent: true })
    try {
      await this.onCreate(creation)
      store(null)
      if (this.dream === creation.dream) this.#field.value = ''
      this.#changed()
    } catch (error) {
      // A reload breaks the request off: the next page sends it again.
      if (this.#isLeft) return
      // The service may have made the task: the same dream is sent with the same key, unless that can no longer make one.
      store(error instanceof ApiError && error.code.startsWith('idempotency_key_') ? null : { ...creation, isSent: false })
      if (this.dream === '') this.fill(creation)
      this.#showFault(sentenceOf(error))
      announce(sentenceOf(error))
      this.#field.focus()
    } finally {
      this.#isSending = false
      this.#button.removeAttribute('aria-disabled')
    }
  }

  /** Goes on with the creation that was sent, or had failed, when the page was reloaded. */
  #resume () {
    const stored = readStored()
    if (stored === null) return
    if (!stored.isSent || Date.now() - stored.storedAt > maxResumeMs) this.fill(stored)
    // `onCreate` is set after this element is defined.
    else queueMicrotask(() => this.#create(stored))
  }

  /** Shows another example in the empty field from time to time. */
  #turnExamples () {
    let shown = 0
    setInterval(() => {
      if (this.#field.value !== '' || document.activeElement === this.#field || prefersStillness.matches) return
      this.#field.classList.add('turning')
      setTimeout(() => {
        shown = (shown + 1) % exampleDreams.length
        this.#field.placeholder = exampleDreams[shown] ?? ''
        this.#field.classList.remove('turning')
      }, 300)
    }, exampleMs)
  }
}

/** @param {Creation & { isSent: boolean } | null} creation isSent: its answer is awaited */
function store (creation) {
  session.set(creationName, creation === null ? null : JSON.stringify({ ...creation, storedAt: Date.now() }))
}

/** @returns {Creation & { isSent: boolean, storedAt: number } | null} storedAt: ms since the epoch */
function readStored () {
  return JSON.parse(session.get(creationName) ?? 'null')
}

/** Without `crypto.randomUUID`, which needs HTTPS. */
function newIdempotencyKey () {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** The service words these for programs. @type {Record<string, string>} */
const sentences = {
  api_key_missing: 'This service wants an API key.',
  api_key_invalid: 'The API key is not valid here, or no longer.',
  too_many_requests: 'Too many requests within a minute.',
  too_many_open_tasks: 'As many films are in the making as may be at a time.'
}

/**
 * What a failed request means to the user.
 * @param {unknown} error
 */
export function sentenceOf (error) {
  if (error instanceof UnreachableError) return error.message
  if (!(error instanceof ApiError)) return 'A part of the page could not be loaded. Try again.'
  const sentence = sentences[error.code] ?? error.message
  return error.retryAfterMs > 0 ? `${sentence} Try again in ${duration(error.retryAfterMs / 1000)}.` : sentence
}
