import { readdir, readlink } from 'node:fs/promises'

/** @returns how often this process has the file open */
export async function countOpen (path: string): Promise<number> {
  const descriptors = await readdir('/proc/self/fd')
  const targets = await Promise.all(descriptors.map((descriptor) => readlink(`/proc/self/fd/${descriptor}`).catch(() => '')))
  return targets.filter((target) => target === path).length
}
