const unitsPattern = /^(?:(?<hours>\d{1,6})h)?(?:(?<minutes>\d{1,6})m)?(?:(?<seconds>\d{1,6})s)?$/
const minMs = 5000

/**
 * The milliseconds that a `Cancel-After` header names: `90`, `90s`, `5m`, `1h30m45s`.
 * Undefined for anything else and for less than the five seconds that Replicate asks for.
 */
export function parseCancelAfter (header: string): number | undefined {
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : unitsToMs(header)
  return ms !== undefined && ms >= minMs ? ms : undefined
}

function unitsToMs (header: string): number | undefined {
  const units = unitsPattern.exec(header)?.groups
  if (units === undefined) return undefined
  const { hours = 0, minutes = 0, seconds = 0 } = units
  return (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000
}
