import leven from 'leven'

/** Shorter names such as HOST and PORT are similar to too many others. */
const minNameLength = 8
const maxDistance = 2
/** Variables that Kubernetes sets in each container for each service of the namespace. Their prefix may be that of a setting. */
const kubernetesVariable = /_SERVICE_(HOST|PORT)(_|$)|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/

/**
 * Finds names that are probably meant as settings but are none: they are similar to a setting, or begin with a prefix of several.
 * @returns a sentence for each
 */
export function describeUnknownSettings (given: string[], known: string[]): string[] {
  const prefixes = findSharedPrefixes(known)
  return given.filter((name) => !known.includes(name) && !kubernetesVariable.test(name)).flatMap((name) => {
    const meant = known.find((setting) => isSimilar(name.toUpperCase(), setting))
    if (meant !== undefined) return [`${name} is no setting; did you mean ${meant}?`]
    return prefixes.some((prefix) => name.startsWith(prefix)) ? [`${name} is no setting`] : []
  })
}

function isSimilar (name: string, setting: string): boolean {
  return setting.length >= minNameLength && leven(name, setting, { maxDistance: maxDistance + 1 }) <= maxDistance
}

/** Finds the prefixes that several settings share. A prefix of a single setting, such as LOG, may be used by other programs. */
function findSharedPrefixes (known: string[]): string[] {
  const words = known.filter((name) => name.includes('_')).map((name) => name.slice(0, name.indexOf('_') + 1))
  return [...new Set(words.filter((word, at) => words.indexOf(word) !== at))]
}
