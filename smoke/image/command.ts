import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

export interface Outcome { code: number | null, output: string }

/** Runs a program to its end. @returns its exit code, and what it wrote to standard output and standard error */
export async function execute (program: string, args: readonly string[]): Promise<Outcome> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  const [code, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)])
  return { code, output: stdout + stderr }
}

/** As `execute`. @throws Error with the output if the program fails */
export async function run (program: string, args: readonly string[]): Promise<string> {
  const { code, output } = await execute(program, args)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${output.slice(-4_000)}`)
  return output
}
