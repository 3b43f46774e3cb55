const size = 12

/**
 * The main colour of a picture or a video, as it is shown now: its mean, with colourful pixels counting more.
 * @param {HTMLImageElement | HTMLVideoElement} picture
 * @returns {string | undefined} undefined if the browser does not let the page read it, or if it has no colour
 */
export function mainColour (picture) {
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = size
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (context === null) return undefined
  let pixels
  try {
    context.drawImage(picture, 0, 0, size, size)
    pixels = context.getImageData(0, 0, size, size).data
  } catch {
    // It comes from a place that does not allow pages to read it.
    return undefined
  }
  const sum = [0, 0, 0]
  let weights = 0
  for (let at = 0; at < pixels.length; at += 4) {
    const [red = 0, green = 0, blue = 0] = pixels.subarray(at, at + 3)
    // Squared, so that a film of two colours does not lend a grey.
    const weight = 1 + (Math.max(red, green, blue) - Math.min(red, green, blue)) ** 2
    sum[0] += red * weight
    sum[1] += green * weight
    sum[2] += blue * weight
    weights += weight
  }
  const mean = sum.map((value) => Math.round(value / weights))
  return Math.max(...mean) === 0 ? undefined : `rgb(${mean.join(' ')})`
}
