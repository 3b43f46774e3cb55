import { canary } from './hostile-text.ts'

/** The destination of the log: each line has to be one object, without anything that clients sent. */
export class LogCheck {
  #firstFault: string | undefined
  readonly #secrets: readonly string[]

  constructor (secrets: readonly string[]) {
    this.#secrets = secrets
  }

  write (line: string): void {
    this.#firstFault ??= findFault(line, this.#secrets)
  }

  /** @throws Error about the first line that breaks a rule */
  check (): void {
    if (this.#firstFault !== undefined) throw new Error(this.#firstFault)
  }

  forget (): void {
    this.#firstFault = undefined
  }
}

function findFault (line: string, secrets: readonly string[]): string | undefined {
  if (!line.endsWith('\n') || line.indexOf('\n') !== line.length - 1) return `A log entry is not one line: ${JSON.stringify(line)}`
  if (line.includes(canary)) return `A log line contains what a client sent: ${line}`
  if (secrets.some((secret) => line.includes(secret))) return 'A log line contains a secret'
  try {
    const entry: unknown = JSON.parse(line)
    const isEntry = typeof entry === 'object' && entry !== null && 'level' in entry && 'time' in entry && 'msg' in entry
    return isEntry ? undefined : `A log line lacks its members: ${line}`
  } catch {
    return `A log line is not JSON: ${JSON.stringify(line)}`
  }
}
