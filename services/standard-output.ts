import { destination } from 'pino'

/** Lines that wait for room on a full disk; what comes beyond is dropped. */
const mostWaitingBytes = 4 * 1024 * 1024

/**
 * Where log lines go. A line that cannot be written, because standard output is a file on a full disk, is written with
 * the next one: the service does its work without a log. There is no other place to say so.
 */
export function standardOutput () {
  const stream = destination({ dest: 1, sync: true, maxLength: mostWaitingBytes })
  stream.on('error', () => {})
  return stream
}
