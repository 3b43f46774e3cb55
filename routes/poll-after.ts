/** What `Retry-After` tells a client that polls, in seconds: where the shipped app begins too. */
export const pollAfterSeconds = 5
