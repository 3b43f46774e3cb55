/** @import { ServiceStatus } from '../types.js' */
import { ApiError } from './api.js'
import { make, makeButton } from './dom.js'
import { sentenceOf } from './dream-form.js'
import { api, askForKey, live, studio } from './studio.js'
import { duration } from './words.js'

const intervalMs = 5_000
const maxSamples = 60

/** Figures for operators, while it is shown. Only operators get them: others read why not. */
export class ServiceStatusStrip extends HTMLElement {
  #figures = make('dl')
  #sentence = make('p', { class: 'quiet', role: 'status' })
  /** The figures that the service keeps no history of, as this page has seen them. @type {{ inFlight: number[], waiting: number[] }} */
  #seen = { inFlight: [], waiting: [] }
  /** @type {number | undefined} */
  #timer
  #onKey = () => this.#read()

  connectedCallback () {
    this.append(this.#sentence, this.#figures)
    studio.addEventListener('key', this.#onKey)
    this.#read()
  }

  disconnectedCallback () {
    clearTimeout(this.#timer)
    studio.removeEventListener('key', this.#onKey)
  }

  async #read () {
    clearTimeout(this.#timer)
    try {
      const status = await api.serviceStatus()
      live.note()
      this.#show(status)
    } catch (error) {
      live.note(error)
      if (error instanceof ApiError && !error.isTemporary) return this.#refuse(error)
      this.#say(sentenceOf(error))
    }
    clearTimeout(this.#timer)
    if (this.isConnected) this.#timer = setTimeout(() => this.#read(), intervalMs)
  }

  /** A sentence that has not changed is not read out again. @param {string} sentence */
  #say (sentence) {
    if (this.#sentence.textContent !== sentence) this.#sentence.textContent = sentence
  }

  /** @param {ApiError} error */
  #refuse (error) {
    this.#figures.replaceChildren()
    if (![401, 403].includes(error.status)) return this.#say(error.message)
    const sentence = error.code === 'keys_required' ? error.message : 'These figures are for operators: they need an API key with the right “admin”.'
    this.#sentence.replaceChildren(sentence, ' ', makeButton('key', 'Enter a key', () => askForKey()))
  }

  /** @param {ServiceStatus} status */
  #show ({ open, in_flight: inFlight, completed_last_hour: completed, failed_last_hour: failed, oldest_waiting_seconds: waiting, provider, history }) {
    keep(this.#seen.inFlight, inFlight)
    keep(this.#seen.waiting, waiting ?? 0)
    this.#say(describeProvider(provider))
    this.#sentence.dataset.breaker = provider.breaker
    this.#figures.replaceChildren(
      figure('Open', String(open), history.map((minute) => minute.open), 'in the last hour'),
      figure('In the making', String(inFlight), this.#seen.inFlight, 'while this page looked'),
      figure('Done in the last hour', String(completed), history.map((minute) => minute.completed), 'per minute'),
      figure('Failed in the last hour', String(failed), history.map((minute) => minute.failed), 'per minute'),
      figure('Oldest in line', waiting === null ? 'none' : duration(waiting), this.#seen.waiting, 'while this page looked', duration)
    )
  }
}

/**
 * @param {number[]} samples
 * @param {number} value
 */
function keep (samples, value) {
  samples.push(value)
  if (samples.length > maxSamples) samples.shift()
}

/** @param {ServiceStatus['provider']} provider */
function describeProvider ({ state, breaker, reason }) {
  const why = reason === null ? '' : ` (${reason.replaceAll('_', ' ')})`
  const words = { closed: state === 'limited' ? 'It has asked for a pause, so dreams are passed on a little later.' : 'Dreams are passed on at once.', open: `No dreams are passed on for the moment${why}. They wait in line.`, half_open: `One dream is passed on to see whether it works again${why}.` }
  return `Provider: ${state.replaceAll('_', ' ')}. ${words[breaker]}`
}

/**
 * @param {string} name
 * @param {string} value
 * @param {number[]} series
 * @param {string} span what the series covers
 * @param {(value: number) => string} write
 */
function figure (name, value, series, span, write = String) {
  const most = Math.max(0, ...series)
  return make('div', {}, make('dt', {}, name), make('dd', {}, make('strong', {}, value), sparkline(series, most), make('small', {}, `${most === 0 ? 'none' : `at most ${write(most)}`} ${span}`)))
}

/**
 * @param {number[]} series
 * @param {number} most
 */
function sparkline (series, most) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  svg.setAttribute('viewBox', `0 0 ${Math.max(1, series.length - 1)} 20`)
  svg.setAttribute('preserveAspectRatio', 'none')
  svg.setAttribute('class', 'sparkline')
  svg.setAttribute('aria-hidden', 'true')
  const line = document.createElementNS(svg.namespaceURI, 'polyline')
  const points = series.length === 1 ? [...series, ...series] : series
  line.setAttribute('points', points.map((value, index) => `${index},${19 - (most === 0 ? 0 : value / most * 18)}`).join(' '))
  svg.append(line)
  return svg
}

customElements.define('service-status', ServiceStatusStrip)
