/** The file cannot be had, and asking again is no use. */
export class VideoRefusedError extends Error {
  override name = 'VideoRefusedError'
  /** `gone`: it was deleted. `no_video`: it is something else. `too_large`: it has more bytes than allowed. */
  readonly reason

  constructor (reason: 'gone' | 'no_video' | 'too_large', message: string) {
    super(message)
    this.reason = reason
  }
}

/** The download failed, and may succeed when it is made again from the start. */
export class DownloadFailedError extends Error {
  override name = 'DownloadFailedError'
}
