import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Prints what each production dependency costs, as it is installed: its own files, and the packages that would not be installed
 * without it. Packages that several dependencies need are counted with none of them, but in the total.
 */

interface Package { dependencies?: Record<string, string>, optionalDependencies?: Record<string, string>, peerDependencies?: Record<string, string> }

const root = new URL('../', import.meta.url).pathname
const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Package> }
const direct = Object.keys(packages['']?.dependencies ?? {})
const all = installedWith(direct)
const sizes = new Map(await Promise.all(Array.from(all, async (path) => [path, await sizeOf(path)] as const)))

console.table(Object.fromEntries(direct.map((name) => {
  const others = installedWith(direct.filter((other) => other !== name))
  const ownPath = `node_modules/${name}`
  const exclusive = [...all].filter((path) => path !== ownPath && !others.has(path))
  return [name, { 'own kB': kilobytes([ownPath]), 'packages only for it': exclusive.length, 'their kB': kilobytes(exclusive), 'packages in all': installedWith([name]).size - 1 }]
})))
console.log(`${direct.length} dependencies bring ${all.size} packages of ${kilobytes([...all])} kB together.`)

/** @returns the folders of these packages and of everything that they need, as far as it is installed on this platform */
function installedWith (names: readonly string[]): Set<string> {
  const found = new Set<string>()
  const open = names.map((name) => ({ from: '', name }))
  for (const { from, name } of open) {
    const path = resolve(from, name)
    if (path === undefined || found.has(path)) continue
    found.add(path)
    const { dependencies, optionalDependencies, peerDependencies } = packages[path] ?? {}
    open.push(...Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }).map((needed) => ({ from: path, name: needed })))
  }
  return found
}

/** @returns the folder that Node finds the package in when a file of the folder `from` imports it */
function resolve (from: string, name: string): string | undefined {
  const path = join(from, 'node_modules', name)
  if (path in packages) return path
  return from === '' ? undefined : resolve(from.slice(0, Math.max(0, from.lastIndexOf('node_modules/') - 1)), name)
}

function kilobytes (paths: readonly string[]): number {
  return Math.round(paths.reduce((sum, path) => sum + (sizes.get(path) ?? 0), 0) / 1000)
}

/** @returns the bytes of a package’s own files, without those of packages inside of it; 0 if it is not installed */
async function sizeOf (path: string): Promise<number> {
  const entries = await readdir(join(root, path), { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const own = files.filter((file) => !file.slice(root.length + path.length).includes('/node_modules/'))
  return (await Promise.all(own.map(async (file) => (await stat(file)).size))).reduce((sum, size) => sum + size, 0)
}
