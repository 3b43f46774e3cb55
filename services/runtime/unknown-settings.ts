import leven from 'leven'

/** Shorter names, as HOST and PORT, are near to too many others. */
const minNameLength = 8
const maxDistance = 2
/** What Kubernetes gives to each container for each service of its namespace: a service may be called as a setting begins. */
const kubernetesVariable = /_SERVICE_(HOST|PORT)(_|$)|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/

/**
 * A sentence for each name that looks like one of our settings and is none: it is nearly one of them, or it begins as
 * several of them do.
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

/** Words that several settings begin with: they are ours. A word that begins one alone, as LOG, may be anybody's. */
function findSharedPrefixes (known: string[]): string[] {
  const words = known.filter((name) => name.includes('_')).map((name) => name.slice(0, name.indexOf('_') + 1))
  return [...new Set(words.filter((word, at) => words.indexOf(word) !== at))]
}
