/** Contents of these boxes are boxes. */
const containers = new Set(['moov', 'trak', 'mdia', 'minf', 'stbl'])

/** A box of an MP4 file. */
export function box (name: string, ...content: Uint8Array[]): Buffer {
  const size = content.reduce((sum, { length }) => sum + length, 8)
  return Buffer.concat([numbers(size), Buffer.from(name, 'latin1'), ...content])
}

/** Numbers of four bytes each. */
export function numbers (...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index)
  return bytes
}

/** Writes an MP4 file anew. @param edit gives what takes the place of a box; its content is written anew already */
export function editBoxes (file: Buffer, edit: (name: string, content: Buffer) => Buffer[]): Buffer {
  const boxes = []
  for (let start = 0; start < file.length;) {
    const end = start + file.readUInt32BE(start)
    const name = file.toString('latin1', start + 4, start + 8)
    const content = file.subarray(start + 8, end)
    boxes.push(...edit(name, containers.has(name) ? editBoxes(content, edit) : content))
    start = end
  }
  return Buffer.concat(boxes)
}

/** The parts of which hostile files are made. */
export function takeApart (video: Buffer) {
  const parts = new Map<string, Buffer>()
  editBoxes(video, (name, content) => {
    parts.set(name, box(name, content))
    return [box(name, content)]
  })
  const part = (name: string): Buffer => parts.get(name) ?? Buffer.alloc(0)
  return { type: part('ftyp'), movieHeader: part('mvhd'), track: part('trak'), index: part('moov'), data: part('mdat') }
}
