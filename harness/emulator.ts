import { buildEmulator, type EmulatorOptions } from '../replicate-emulator/app.ts'

/**
 * Starts an emulator of Replicate in this process, on a free port of 127.0.0.1. Its videos are copies of a sample, unless the options
 * say otherwise.
 * @returns it, the address for REPLICATE_API_URL, and how it ends
 */
export async function startEmulator (options: EmulatorOptions) {
  const app = buildEmulator({ sampleVideos: true, ...options })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { emulator: app.emulator, url, apiUrl: `${url}/v1`, close: () => app.close() }
}
