import { ApiError, Api } from './api.js'
import { find, make } from './dom.js'
import { sentenceOf } from './dream-form.js'

/** @type {Record<string, string>} */
const reasons = {
  api_key_missing: 'This service wants an API key with each dream.',
  api_key_invalid: 'The key is not valid here, or no longer.'
}

/**
 * @typedef {{ reason: ApiError | undefined, hasKey: boolean, onKey: (key: string | null) => void }} Question
 *   reason: the answer of the service that made it necessary; hasKey: whether there is a key already; onKey: takes the new key, or null for none
 */

/** Asks for an API key, and tries it out before it is kept. */
export class KeyDialog extends HTMLElement {
  /** @type {Promise<boolean> | undefined} */
  static #asking

  /**
   * @param {Question} question
   * @returns {Promise<boolean>} whether there is another key now
   */
  static ask (question) {
    // Several requests can find at once that they need a key: the user is asked once.
    KeyDialog.#asking ??= KeyDialog.#open(question).finally(() => { KeyDialog.#asking = undefined })
    return KeyDialog.#asking
  }

  /** @param {Question} question */
  static #open (question) {
    const element = new KeyDialog()
    document.body.append(element)
    return element.#ask(question).finally(() => element.remove())
  }

  #field = make('input', { id: 'key', name: 'key', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true, 'aria-describedby': 'key-fault key-help', placeholder: 'drm_…' })
  #fault = make('p', { id: 'key-fault', class: 'fault', role: 'alert' })
  #use = make('button', { type: 'submit', class: 'main' }, 'Use this key')
  #forget = make('button', { type: 'button', class: 'plain' }, 'Forget the key')
  #cancel = make('button', { type: 'button', class: 'plain' }, 'Not now')
  #form = make('form', { method: 'dialog' },
    make('h2', { id: 'key-title' }, 'API key'),
    make('label', { for: 'key' }, 'Your key'),
    this.#field,
    this.#fault,
    make('p', { id: 'key-help', class: 'quiet' }, 'The operator of the service gives out keys. This page keeps yours until you close the tab, and sends it to this service only.'),
    make('p', { class: 'row' }, this.#use, this.#cancel, this.#forget))

  #dialog = make('dialog', { class: 'small', 'aria-labelledby': 'key-title' }, this.#form)

  /**
   * @param {Question} question
   * @returns {Promise<boolean>}
   */
  #ask ({ reason, hasKey, onKey }) {
    this.append(this.#dialog)
    this.#forget.hidden = !hasKey
    if (reason !== undefined) this.#fault.textContent = reasons[reason.code] ?? reason.message
    return new Promise((resolve) => {
      const end = (/** @type {boolean} */ isChanged) => {
        this.#dialog.close()
        resolve(isChanged)
      }
      this.#dialog.addEventListener('close', () => resolve(false))
      this.#cancel.addEventListener('click', () => end(false))
      this.#forget.addEventListener('click', () => {
        onKey(null)
        end(false)
      })
      this.#form.addEventListener('submit', async (event) => {
        event.preventDefault()
        const key = this.#field.value.trim()
        this.#use.disabled = true
        const fault = await tryKey(key)
        this.#use.disabled = false
        // The user may have closed the dialog meanwhile.
        if (!this.#dialog.open) return
        this.#fault.textContent = fault ?? ''
        if (fault !== null) return this.#field.select()
        onKey(key)
        end(true)
      })
      this.#dialog.showModal()
      find('#key', HTMLInputElement, this).focus()
    })
  }
}

/**
 * @param {string} key
 * @returns {Promise<string | null>} what is wrong with it; null if it can be used
 */
async function tryKey (key) {
  if (!/^[!-~]+$/.test(key)) return 'A key has no spaces and no special characters. Copy it again.'
  try {
    await new Api(key).list({ limit: 1 })
    return null
  } catch (error) {
    if (error instanceof ApiError && error.isAboutKey) return 'This key is not valid here. Look whether all of it was copied.'
    // The key is valid but has no requests left in this minute.
    if (error instanceof ApiError && error.status === 429) return `The key is valid, but limited. ${sentenceOf(error)}`
    return sentenceOf(error)
  }
}

customElements.define('key-dialog', KeyDialog)
