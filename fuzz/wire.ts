import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

export interface Answer { status: number, headers: ReadonlyArray<readonly [string, string]>, body: Buffer }

/** How a connection ended: with the answers that came, in the order of the requests. */
export interface Exchange { answers: Answer[], rest: Buffer }

/** A run fails if an answer takes longer. Tasks end within a second or two, and `Prefer: wait` waits no longer than that. */
const maxAnswerMs = 15_000
/** A connection that stays open after an answer is closed by the client. */
const idleMs = 30

/**
 * Sends these bytes on a connection of their own.
 * @param ends whether the client says after the last byte that it sends no more
 * @throws Error if no complete answer comes in time, or if what comes is not HTTP
 */
export async function exchange (port: number, parts: readonly Buffer[], ends: boolean): Promise<Exchange> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const chunks: Buffer[] = []
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<'closed'>()
  let changed = Promise.withResolvers<'data'>()
  socket.on('data', (chunk) => {
    chunks.push(chunk)
    changed.resolve('data')
    changed = Promise.withResolvers()
  })
  socket.on('end', () => onClosed('closed')).on('close', () => onClosed('closed'))
  // The server may close the connection while the client is still sending.
  socket.on('error', () => onClosed('closed'))
  const isHead = parts[0]?.subarray(0, 5).toString('latin1') === 'HEAD '
  const timeout = new AbortController()
  try {
    for (const part of parts) socket.write(part)
    if (ends) socket.end()
    const late = delay(maxAnswerMs, 'late' as const, { signal: timeout.signal, ref: false }).catch(() => 'late' as const)
    for (;;) {
      const parsed = parseAnswers(Buffer.concat(chunks), isHead, false)
      // A client that could still send more waits a little for the end of the connection.
      const idle = parsed.answers.length > 0 && parsed.rest.length === 0 ? [delay(idleMs, 'idle' as const)] : []
      const event = await Promise.race([closed, changed.promise, late, ...idle])
      if (event === 'late') throw new Error(`No complete answer within ${maxAnswerMs} ms; received: ${show(Buffer.concat(chunks))}`)
      if (event === 'idle') return parsed
      if (event === 'closed') return parseAnswers(Buffer.concat(chunks), isHead, true)
    }
  } finally {
    timeout.abort()
    socket.destroy()
  }
}

/** @returns the beginning of bytes, on one line */
export function show (bytes: Buffer, max = 1_500): string {
  const text = JSON.stringify(bytes.subarray(0, max).toString('latin1'))
  return bytes.length > max ? `${text} and ${bytes.length - max} more bytes` : text
}

/** @param isEnd whether nothing more comes */
function parseAnswers (bytes: Buffer, isHead: boolean, isEnd: boolean): Exchange {
  const answers: Answer[] = []
  let rest = bytes
  while (rest.length > 0) {
    const parsed = parseAnswer(rest, isHead && answers.length === 0, isEnd)
    if (parsed === undefined) break
    if (parsed.answer.status >= 200) answers.push(parsed.answer)
    rest = parsed.rest
  }
  return { answers, rest }
}

function parseAnswer (bytes: Buffer, isHead: boolean, isEnd: boolean): { answer: Answer, rest: Buffer } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const [statusLine = '', ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n')
  const [, status] = /^HTTP\/1\.1 (\d{3}) [ -~]*$/.exec(statusLine) ?? []
  if (status === undefined) throw new Error(`A status line is malformed: ${show(bytes)}`)
  const headers = lines.map((line) => {
    const [, name, value] = /^([\w!#$%&'*+.^`|~-]+): ?([\t -~\x80-\xff]*)$/.exec(line) ?? []
    if (name === undefined || value === undefined) throw new Error(`A header is malformed: ${JSON.stringify(line)}`)
    return [name.toLowerCase(), value] as const
  })
  const content = bytes.subarray(headEnd + 4)
  const head = { status: Number(status), headers }
  const has = (name: string) => headers.find(([other]) => other === name)?.[1]
  // A parser that fails cannot know whether the method was HEAD, so its refusal has content.
  const isRefusal = [400, 408, 431].includes(head.status) && content.length > 0
  if ((isHead && !isRefusal) || head.status < 200 || head.status === 204 || head.status === 304) return { answer: { ...head, body: Buffer.alloc(0) }, rest: content }
  if (has('transfer-encoding') === 'chunked') {
    const decoded = decodeChunks(content)
    return decoded && { answer: { ...head, body: decoded.body }, rest: decoded.rest }
  }
  const length = has('content-length')
  if (length === undefined) return isEnd ? { answer: { ...head, body: content }, rest: Buffer.alloc(0) } : undefined
  return content.length < Number(length) ? undefined : { answer: { ...head, body: content.subarray(0, Number(length)) }, rest: content.subarray(Number(length)) }
}

function decodeChunks (bytes: Buffer): { body: Buffer, rest: Buffer } | undefined {
  const chunks: Buffer[] = []
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16)
    const next = lineEnd + 2 + size + 2
    if (Number.isNaN(size)) throw new Error('A chunk has no size')
    if (bytes.length < next) return undefined
    if (size === 0) return { body: Buffer.concat(chunks), rest: bytes.subarray(next) }
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = next
  }
}
