/** The service sends a sign of life every 14 s at the latest. */
const maxSilenceMs = 40_000

/**
 * Reads server-sent events. `EventSource` is no alternative: it cannot send an API key.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<{ data: string }>}
 * @throws {Error} if nothing has arrived for 40 s
 */
export async function * readEvents (body) {
  const reader = body.pipeThrough(/** @type {ReadableWritablePair<string, Uint8Array>} */ (new TextDecoderStream())).getReader()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await withinSilence(reader.read())
      if (done) return
      text += value
      const blocks = text.split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) {
        const data = block.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart())
        if (data.length > 0) yield { data: data.join('\n') }
      }
    }
  } finally {
    reader.cancel().catch(() => {})
  }
}

/**
 * @template T
 * @param {Promise<T>} reading
 * @returns {Promise<T>}
 */
async function withinSilence (reading) {
  /** @type {number | undefined} */
  let timer
  const silence = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('The stream of events is silent')), maxSilenceMs)
  })
  try {
    return await /** @type {Promise<T>} */ (Promise.race([reading, silence]))
  } finally {
    clearTimeout(timer)
  }
}
