/** Whether this is `npm run test:quick`. */
const isQuick = process.env.TEST_QUICK === '1'

/**
 * The options of a test that needs a PostgreSQL server or starts processes: `npm run test:quick` skips it. Files in which
 * every test does so are left out as a whole by `test/bundle.ts`. `npm test` leaves out nothing.
 */
export const slow = { skip: isQuick ? 'slow' : false } as const

/** The options of a test that runs on several stores. */
export function slowOn (store: string): { skip?: string | false } {
  return store === 'PostgreSQL' ? slow : {}
}

/** Called by helpers that start a server or a process. @throws Error in test:quick */
export function refuseInQuick (what: string): void {
  if (isQuick) throw new Error(`${what} in test:quick: give the test the options \`slow\` of test/support/quick.ts`)
}
