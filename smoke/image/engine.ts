import type { Outcome } from './command.ts'

/** The configuration of an image; both engines use these names. */
export interface ImageConfig {
  User: string
  Cmd: string[]
  Labels: Record<string, string>
  Healthcheck: { Test: string[] }
}

/** A container that runs the command of its image, on the network of this machine. */
export interface Container {
  /** of its process, as this machine sees it */
  pid (): Promise<number>
  /** Runs a command in the container, with the container's environment and `env`. */
  execute (command: readonly string[], env?: Record<string, string>): Promise<Outcome>
  /** The paths that were written since its start, except for its volumes, /tmp, and what the engine itself writes. */
  writtenPaths (): Promise<string[]>
  signal (name: 'SIGTERM'): Promise<void>
  /** Resolves when its process has ended, with the exit code. */
  ended (): Promise<number>
  log (): Promise<string>
}

/** Builds and runs images. `clear` removes everything that it made, except for what makes the next build fast. */
export interface Engine {
  readonly name: string
  /** @param target the stage of the Dockerfile */
  build (target: string, tag: string, args: Record<string, string>): Promise<void>
  inspect (tag: string): Promise<ImageConfig>
  start (tag: string, env: Record<string, string>): Promise<Container>
  /** Runs one command in a container of its own, without settings. */
  runOnce (tag: string, command: readonly string[]): Promise<Outcome>
  clear (): Promise<void>
}

/** One flag for each value, such as `--env NAME=value`. */
export function flags (name: string, values: Record<string, string>): string[] {
  return Object.entries(values).flatMap(([key, value]) => [name, `${key}=${value}`])
}
