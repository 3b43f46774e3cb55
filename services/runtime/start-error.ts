/** The service cannot start, for a reason that whoever starts it can put right: the message says how. */
export class StartError extends Error {
  override name = 'StartError'
}
