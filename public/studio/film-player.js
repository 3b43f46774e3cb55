import { make, prefersStillness } from './dom.js'
import { mainColour } from './film-colour.js'

/** Videos that are on the screen play. */
const screen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting, intersectionRatio } of entries) {
    target.dispatchEvent(new CustomEvent('seen', { detail: isIntersecting && intersectionRatio >= 0.25 }))
  }
}, { threshold: [0, 0.25] })

/** Browsers allow only some dozens of videos at a time: those that are far from the screen are given up. */
const surroundings = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) if (!isIntersecting) target.dispatchEvent(new Event('far'))
}, { rootMargin: '200% 0px' })

/**
 * A film in a frame: first its poster, if it has one; its video is made when it is first on the screen, and plays muted in a loop while it is.
 * @param {{ video: string, poster: string | null, onColour: (colour: string) => void, onRatio: (ratio: number) => void, onGone: () => void }} film
 *   onGone: called if the service no longer has the video
 * @returns {HTMLElement}
 */
export function makePlayer ({ video: address, poster, onColour, onRatio, onGone }) {
  const player = make('span', { class: 'player' })
  /** @type {HTMLVideoElement | undefined} */
  let video
  if (poster !== null) {
    const image = make('img', { src: poster, alt: '', loading: 'lazy', decoding: 'async' })
    image.addEventListener('load', () => {
      onRatio(image.naturalWidth / image.naturalHeight)
      takeColour(image)
    }, { once: true })
    player.append(image)
  }

  /** @param {HTMLImageElement | HTMLVideoElement} picture */
  const takeColour = (picture) => {
    const colour = mainColour(picture)
    if (colour !== undefined) onColour(colour)
  }

  const makeVideo = () => {
    const made = make('video', { muted: true, loop: true, playsinline: true, preload: 'auto', tabindex: -1, 'aria-hidden': 'true' })
    // The attribute alone does not mute a video that a script has made.
    made.muted = true
    made.addEventListener('loadeddata', () => {
      onRatio(made.videoWidth / made.videoHeight)
      if (poster === null) takeColour(made)
      made.classList.add('shown')
    }, { once: true })
    made.addEventListener('error', async () => {
      if (video !== made) return
      giveUp()
      if (await isGone(address)) onGone()
    }, { once: true })
    made.src = address
    player.append(made)
    return made
  }

  const giveUp = () => {
    const given = video
    video = undefined
    given?.removeAttribute('src')
    // Otherwise the browser would keep its data until the next collection of garbage.
    given?.load()
    given?.remove()
  }

  player.addEventListener('far', giveUp)
  player.addEventListener('seen', (event) => {
    const isSeen = /** @type {CustomEvent<boolean>} */ (event).detail
    if (!isSeen) return video?.pause()
    if (prefersStillness.matches && poster !== null) return
    video ??= makeVideo()
    // A browser that saves energy may refuse: then the first frame stands.
    if (!prefersStillness.matches) video.play().catch(() => {})
  })
  screen.observe(player)
  surroundings.observe(player)
  return player
}

const headTimeoutMs = 10_000

/**
 * Whether the service no longer has a video that could not be played. If it cannot be reached, it may still have it.
 * @param {string} address
 */
export async function isGone (address) {
  try {
    const { status } = await fetch(address, { method: 'HEAD', signal: AbortSignal.timeout(headTimeoutMs) })
    return status === 404 || status === 410
  } catch {
    return false
  }
}
