export interface TerminalOutput { write (line: string): void }

/**
 * Opens a destination that formats log lines for people, if standard output is a terminal and pino-pretty is installed, which is a
 * devDependency.
 * @param output standard output, or its replacement in a test
 * @returns undefined in any other case, without loading pino-pretty: programs read the log as JSON
 */
export async function openTerminalOutput (output: { isTTY?: boolean, write (text: string): unknown }): Promise<TerminalOutput | undefined> {
  if (!output.isTTY) return undefined
  const pretty = await import('pino-pretty').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  })
  if (pretty === undefined) return undefined
  const format = pretty.prettyFactory({ translateTime: 'SYS:HH:MM:ss', ignore: 'pid,hostname', singleLine: true })
  // A terminal takes each line at once, so there is nothing to flush when the process ends.
  return { write: (line) => { output.write(format(line) ?? '') } }
}
