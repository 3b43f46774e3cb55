/** Settings without any limit on what callers or the service do: a run of many requests from one address, on a busy machine. */
export const unlimited = {
  REPLICATE_CREATES_PER_MINUTE: '100000',
  REPLICATE_READS_PER_MINUTE: '100000',
  CREATES_PER_MINUTE: '0',
  READS_PER_MINUTE: '0',
  MAX_OPEN_TASKS: '0',
  MAX_EVENT_LOOP_DELAY_MS: '0'
}
