import { execFileSync } from 'node:child_process'
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Prints the list of all packages that the service installs in production, as `npm sbom` makes it, in CycloneDX.
 *
 * `npm sbom --omit dev` leaves out each package that a development dependency needs as well, a third of them. So it gets a project that has
 * no development dependencies: the lockfile without the packages that only those need.
 */

interface Manifest { name: string, devDependencies?: unknown }
interface Lockfile { packages: Record<string, { dev?: boolean, devDependencies?: unknown }> }

const root = new URL('../', import.meta.url)
const { devDependencies: _unused, ...manifest } = await readJson<Manifest>('package.json')
const lockfile = await readJson<Lockfile>('package-lock.json')
const packages = Object.fromEntries(Object.entries(lockfile.packages).filter(([, { dev = false }]) => !dev))
delete packages['']?.devDependencies

const temporary = await mkdtemp(join(tmpdir(), 'sbom-'))
try {
  // npm names the application by the folder.
  const folder = join(temporary, manifest.name)
  await mkdir(folder)
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  await writeFile(join(folder, 'package-lock.json'), JSON.stringify({ ...lockfile, packages }))
  execFileSync('npm', ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx', '--sbom-type', 'application'], { cwd: folder, stdio: 'inherit' })
} finally {
  await rm(temporary, { recursive: true })
}

async function readJson<Content> (name: string): Promise<Content> {
  return JSON.parse(await readFile(new URL(name, root), 'utf8')) as Content
}
