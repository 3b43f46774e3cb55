const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Makes a cursor for the position after the task with this id in the list of tasks. Cursors are opaque to clients. */
export function encodeCursor (id: string): string {
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')
}

/** @returns the id of the task that the cursor was made of; null if it is no cursor */
export function decodeCursor (cursor: string): string | null {
  const hex = Buffer.from(cursor, 'base64url').toString('hex')
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return uuid.test(id) && encodeCursor(id) === cursor ? id : null
}
