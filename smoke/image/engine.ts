import type { Outcome } from './command.ts'

/** What an image says of itself, as both engines name it. */
export interface ImageConfig {
  User: string
  Cmd: string[]
  Labels: Record<string, string>
  Healthcheck: { Test: string[] }
}

/** A container of an image's own command, on the network of this machine. */
export interface Container {
  /** of its process, seen from this machine */
  pid (): Promise<number>
  /** Runs a command inside, with the container's environment and what is added to it. */
  execute (command: readonly string[], env?: Record<string, string>): Promise<Outcome>
  /** Paths that were written since it was started, without its volumes, /tmp, and what the engine itself puts there. */
  writtenPaths (): Promise<string[]>
  signal (name: 'SIGTERM'): Promise<void>
  /** Resolves when its process has ended, with the exit code. */
  ended (): Promise<number>
  log (): Promise<string>
}

/** Builds and runs images. Everything it made is gone after `clear`, but for what makes the next build fast. */
export interface Engine {
  readonly name: string
  /** @param target the stage of the Dockerfile */
  build (target: string, tag: string, args: Record<string, string>): Promise<void>
  inspect (tag: string): Promise<ImageConfig>
  start (tag: string, env: Record<string, string>): Promise<Container>
  /** One command in a container of its own, without settings. */
  runOnce (tag: string, command: readonly string[]): Promise<Outcome>
  clear (): Promise<void>
}

export function flags (name: string, values: Record<string, string>): string[] {
  return Object.entries(values).flatMap(([key, value]) => [name, `${key}=${value}`])
}
