import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { changesOf, releaseChanges } from './changelog.ts'

/**
 * `npm run release -- VERSION` writes the version and its changes into the files of the project; the commit, the tag and the image are
 * made by `.github/workflows/release.yml`. `npm run release -- VERSION --changes` prints the changes of a version that has been released.
 */
const { values: { changes: isPrint }, positionals: [version = ''] } = parseArgs({ allowPositionals: true, options: { changes: { type: 'boolean', default: false } } })
const changelogFile = new URL('../CHANGELOG.md', import.meta.url)

try {
  if (!/^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)$/.test(version)) throw new Error(`“${version}” is not a version such as 1.2.3`)
  const changelog = await readFile(changelogFile, 'utf8')
  if (isPrint) {
    console.log(changesOf(changelog, version))
  } else {
    await writeFile(changelogFile, releaseChanges(changelog, version, new Date().toISOString().slice(0, 'yyyy-mm-dd'.length)))
    // package.json and package-lock.json, then openapi.json, which names the version as well.
    execFileSync('npm', ['version', version, '--no-git-tag-version', '--allow-same-version'], { stdio: 'inherit' })
    execFileSync('npm', ['run', 'docs'], { stdio: 'inherit' })
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
