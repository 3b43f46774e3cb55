/**
 * Loaded into the service before anything else (`node --expose-gc --import`): tells its parent, whenever it is asked, what
 * the process holds after everything that is not needed any more has been let go. The service knows nothing of it.
 */
const { gc } = globalThis
if (gc === undefined) throw new Error('This needs --expose-gc')

process.on('message', async () => {
  // Weak references and finalizers take more than one turn.
  for (let round = 0; round < 3; round++) {
    await gc({ execution: 'async' })
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  process.send?.({ rss, heapUsed, external })
})
process.channel?.unref()
