import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { testEnvironment, until } from './service.ts'

const server = new URL('../../server.ts', import.meta.url).pathname

/**
 * The real `server.ts` as a process of its own on a free port, killed when the test ends.
 * @param logFile where its log goes; a pipe where nothing is said
 */
export async function runService (t: Test, env: Record<string, string>, logFile?: string) {
  // Without what tap loads into every Node that a test starts: it handles signals.
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, server], {
    env: { PATH: process.env.PATH, ...testEnvironment, LOG_LEVEL: 'info', PORT: '0', ...env },
    stdio: ['ignore', logFile === undefined ? 'pipe' : openSync(logFile, 'w'), 'pipe']
  })
  let piped = ''
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text) => { piped += text })
  const output = () => logFile === undefined ? piped : readFileSync(logFile, 'utf8') + piped
  const closed = once(child, 'close')
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await closed
  })
  const end = async (signal?: NodeJS.Signals): Promise<{ code: number | null, output: string }> => {
    if (signal !== undefined) child.kill(signal)
    const [code] = await closed
    return { code, output: output() }
  }
  /** As `end`, where the log need not have been read. */
  const exit = async (signal: NodeJS.Signals): Promise<{ code: number | null }> => {
    child.kill(signal)
    const [code] = await exited
    child.stdout?.destroy()
    return { code }
  }
  const readLog = (reads: boolean) => { child.stdout?.[reads ? 'resume' : 'pause']() }
  const closeLog = () => { child.stdout?.destroy() }
  /** From here on no file grows beyond so many bytes: what a full disk looks like from inside. */
  const limitFiles = (bytes: number | 'unlimited') => {
    execFileSync('prlimit', [`--fsize=${bytes}:`, '--pid', String(child.pid)])
  }
  const url = () => until(() => /listening at (http:[^"]+)/.exec(output())?.[1], `the service to listen: ${output()}`)
  return { url, end, exit, readLog, closeLog, limitFiles, output, signal: (signal: NodeJS.Signals) => child.kill(signal) }
}
