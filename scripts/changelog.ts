/** CHANGELOG.md in the format of Keep a Changelog: one section for each version, the newest first, and `Unreleased` above them. */

const unreleased = '## Unreleased'
const nothingYet = 'Nothing yet.'

/**
 * Moves what is unreleased into a section of its own.
 * @param date the day of the release, such as `2027-01-31`
 * @throws Error if nothing is unreleased, or if the version has been released
 */
export function releaseChanges (changelog: string, version: string, date: string): string {
  if (findSection(changelog, version) !== undefined) throw new Error(`CHANGELOG.md has a section for ${version} already`)
  const changes = findSection(changelog, 'Unreleased')
  if (changes === undefined || changes === '' || changes === nothingYet) throw new Error('CHANGELOG.md has no unreleased changes')
  return changelog.replace(`\n${unreleased}\n`, () => `\n${unreleased}\n\n${nothingYet}\n\n## ${version} – ${date}\n`)
}

/**
 * @returns the changes of a version, without its heading
 * @throws Error if the version has no section
 */
export function changesOf (changelog: string, version: string): string {
  const changes = findSection(changelog, version)
  if (changes === undefined) throw new Error(`CHANGELOG.md has no section for ${version}`)
  return changes
}

function findSection (changelog: string, name: string): string | undefined {
  const sections = changelog.split(/^## /m).slice(1)
  const section = sections.find((text) => text.split(/[ \n]/, 1)[0] === name)
  return section?.slice(section.indexOf('\n')).trim()
}
