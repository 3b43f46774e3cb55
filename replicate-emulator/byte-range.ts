export type ByteRange =
  | { kind: 'whole' }
  | { kind: 'part', first: number, last: number }
  | { kind: 'unsatisfiable' }

/**
 * What a `Range` header asks of a file of `size` bytes. A header that is not one range of bytes is ignored, as
 * RFC 9110 allows: the whole file answers it.
 */
export function readRange (header: string | undefined, size: number): ByteRange {
  const [, from = '', to = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? []
  if (from === '' && to === '') return { kind: 'whole' }
  const first = from === '' ? Math.max(0, size - Number(to)) : Number(from)
  const last = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1)
  if (from !== '' && to !== '' && Number(to) < first) return { kind: 'whole' }
  return first > last ? { kind: 'unsatisfiable' } : { kind: 'part', first, last }
}
