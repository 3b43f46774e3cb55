/** The archive of the service under test, seen from outside of the service. */
export interface ArchiveUnderTest {
  /** the settings with which the service uses it */
  readonly env: Record<string, string>
  /** How often each of its faults has occurred. */
  readonly counts: Map<string, number>
  /** Injects one fault after another until the signal. It works when this resolves. */
  injectFaults (signal: AbortSignal): Promise<void>
  /** Stores a file that no task names, and leaves a write unfinished, as a crash can do. */
  plantOrphan (): Promise<void>
  /** @returns the names of all complete files of tasks */
  listFiles (): Promise<string[]>
  /** @returns a name for each write that was begun and has not been completed */
  listUnfinished (): Promise<string[]>
  close (): Promise<void>
}
