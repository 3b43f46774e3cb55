import pg from 'pg'

/** Opens a connection for as long as `work` takes. */
export async function withPostgres<T> (url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Runs one statement on a connection of its own. @returns the rows */
export async function queryPostgres (url: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  return await withPostgres(url, async (client) => (await client.query(text, values)).rows)
}

/** Creates a database on the server of `serverUrl`. @returns its address */
export async function createPostgresDatabase (serverUrl: string, name: string): Promise<string> {
  await queryPostgres(serverUrl, `create database ${name}`)
  const url = new URL(serverUrl)
  url.pathname = name
  return url.href
}
