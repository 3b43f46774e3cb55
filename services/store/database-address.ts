/** The address of the database of a `postgres://…` URL, for people: `host:port/name`, never with the user or the password. */
export function databaseAddress (databaseUrl: string): string {
  const url = URL.parse(databaseUrl)
  if (url === null) return 'the database of DATABASE_URL'
  const host = url.searchParams.get('host') ?? decodeURIComponent(url.hostname)
  return `${host}${url.port && `:${url.port}`}${decodeURIComponent(url.pathname)}`
}
