/** RFC 6750 writes the scheme `Bearer`; RFC 9110 makes schemes case-insensitive. */
const bearer = /^bearer +([!-~]+) *$/i

/**
 * Reads the token of `Authorization: Bearer`.
 * @param rawHeaders alternating names and values, as Node gives them; `headers` would keep only the first of several
 * @returns `none` without the header; `invalid` if there are several, or if it has another form
 */
export function readBearerToken (rawHeaders: string[]): { token: string } | 'none' | 'invalid' {
  let header: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length !== 13 || name.toLowerCase() !== 'authorization') continue
    if (header !== undefined) return 'invalid'
    header = rawHeaders[index + 1] ?? ''
  }
  if (header === undefined) return 'none'
  const token = bearer.exec(header)?.[1]
  return token === undefined ? 'invalid' : { token }
}
