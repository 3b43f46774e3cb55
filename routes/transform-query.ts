import type { InvalidValue } from '../services/http/query-string.ts'

/**
 * Makes a `preValidation` hook that replaces a query parameter by what `transform` returns for it. The schema checks that value, and
 * the handler sees nothing else. A parameter that is missing, or that the query string already holds as invalid, stays as it is.
 */
export function transformQuery (name: string, transform: (text: string) => string | InvalidValue) {
  return (request: { query: unknown }, _reply: unknown, done: () => void): void => {
    const query = request.query as Record<string, unknown>
    const value = query[name]
    if (typeof value === 'string') query[name] = transform(value)
    done()
  }
}
