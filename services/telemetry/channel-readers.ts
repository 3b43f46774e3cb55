import type { Channel } from './channels.ts'

/** Subscriptions to channels that end together. An error of a listener is reported and goes no further: it would end the process. */
export class ChannelReaders {
  readonly #onError
  readonly #closers: Array<() => void> = []

  constructor (onError: (error: unknown) => void) {
    this.#onError = onError
  }

  on<Message> (channel: Channel<Message>, listener: (message: Message) => void): void {
    const guarded = (message: Message): void => {
      try {
        listener(message)
      } catch (error) {
        this.#onError(error)
      }
    }
    channel.subscribe(guarded)
    this.#closers.push(() => channel.unsubscribe(guarded))
  }

  close (): void {
    for (const close of this.#closers.splice(0)) close()
  }
}
