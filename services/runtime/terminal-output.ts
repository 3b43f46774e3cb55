export interface TerminalOutput { write (line: string): void }

/**
 * Where log lines go for people: a readable line for each, where standard output is a terminal and pino-pretty is there, a
 * devDependency. Undefined in any other case, and then nothing of it has been loaded: programs read JSON.
 * @param output standard output, or what takes its place
 */
export async function openTerminalOutput (output: { isTTY?: boolean, write (text: string): unknown }): Promise<TerminalOutput | undefined> {
  if (!output.isTTY) return undefined
  const pretty = await import('pino-pretty').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  })
  if (pretty === undefined) return undefined
  const format = pretty.prettyFactory({ translateTime: 'SYS:HH:MM:ss', ignore: 'pid,hostname', singleLine: true })
  // A terminal takes each line at once: nothing is left to be flushed when the process ends.
  return { write: (line) => { output.write(format(line) ?? '') } }
}
