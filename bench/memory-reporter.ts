/**
 * Loaded into the service before anything else (`node --expose-gc --import`). Whenever its parent sends a message, it
 * answers with the memory that the process holds after a full garbage collection. The service does not know of it.
 */
const { gc } = globalThis
if (gc === undefined) throw new Error('This needs --expose-gc')

/** As `process.memoryUsage()` gives it, in bytes. */
export interface MemoryReport { rss: number, heapUsed: number, external: number }

process.on('message', async () => {
  // Weak references and finalizers need more than one turn of the event loop.
  for (let round = 0; round < 3; round++) {
    await gc({ execution: 'async' })
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  process.send?.({ rss, heapUsed, external } satisfies MemoryReport)
})
process.channel?.unref()
