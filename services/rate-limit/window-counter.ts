/** Counts within windows of time that all instances share. */
export interface WindowCounter {
  /**
   * Adds to the count of a key. The first addition begins a window; when it is over, the next one begins with the next addition.
   * @param windowMs the length of a window in ms
   * @returns the count of all instances in this window
   * @throws StoreUnavailableError
   */
  add (key: string, points: number, windowMs: number): Promise<WindowCount>
}

/** `resetMs`: ms until the window is over. */
export interface WindowCount { points: number, resetMs: number }
