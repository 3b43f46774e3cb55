/** A box of an MP4 file: its four-letter type, and its bytes with the header. */
export interface Box {
  type: string
  bytes: Buffer
}

const headerBytes = 8
/** The boxes that lead from `moov` down to the headers and the tables of chunk offsets. */
const containers = ['moov', 'trak', 'mdia', 'minf', 'stbl']
/** The boxes that begin with the times of creation and modification. */
const headers = ['mvhd', 'tkhd', 'mdhd']

/** Reads the boxes of these bytes. Throws if a box claims more bytes than there are. */
export function readBoxes (bytes: Buffer): Box[] {
  const boxes = []
  for (let at = 0; at < bytes.length;) {
    const size = bytes.readUInt32BE(at)
    if (size < headerBytes || at + size > bytes.length) throw new RangeError(`A box of ${size} bytes at ${at} of ${bytes.length}`)
    boxes.push({ type: bytes.toString('latin1', at + 4, at + headerBytes), bytes: bytes.subarray(at, at + size) })
    at += size
  }
  return boxes
}

export function childBoxes ({ bytes }: Box): Box[] {
  return readBoxes(bytes.subarray(headerBytes))
}

/** The beginning of a box that players pass over. @param bytes the size of the whole box */
export function freeBoxHeader (bytes: number): Buffer {
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32BE(bytes)
  header.write('free', 4, 'latin1')
  return header
}

/**
 * Moves the index of the file before its frames, so that a player can begin before it has the last byte, and removes the time of its
 * creation, so that the same frames give the same file.
 */
export function moveIndexFirst (file: Buffer): Buffer {
  const boxes = readBoxes(file).filter(({ type }) => type !== 'free')
  const inOrder = ['ftyp', 'moov', 'mdat'].map((type) => onlyBox(boxes, type))
  const moved = Buffer.concat(inOrder.map(({ bytes }) => bytes))
  const index = onlyBox(readBoxes(moved), 'moov')
  shiftOffsets(index, frameDataStart(moved) - frameDataStart(file))
  removeTimes(index)
  return moved
}

function onlyBox (boxes: readonly Box[], type: string): Box {
  const [box, ...others] = boxes.filter((candidate) => candidate.type === type)
  if (box === undefined || others.length > 0) throw new Error(`Expected one ${type} box`)
  return box
}

function frameDataStart (file: Buffer): number {
  return onlyBox(readBoxes(file), 'mdat').bytes.byteOffset - file.byteOffset
}

function shiftOffsets (box: Box, by: number): void {
  if (box.type === 'stco') return shiftChunks(box.bytes, by)
  if (containers.includes(box.type)) for (const child of childBoxes(box)) shiftOffsets(child, by)
}

/** A chunk offset box: version and flags, a count, then that number of 32-bit offsets in the file. */
function shiftChunks (stco: Buffer, by: number): void {
  const count = stco.readUInt32BE(12)
  for (let at = 16; at < 16 + count * 4; at += 4) stco.writeUInt32BE(stco.readUInt32BE(at) + by, at)
}

/** Version and flags come first; the times of version 0 have 32 bits each. */
function removeTimes (box: Box): void {
  if (headers.includes(box.type)) box.bytes.fill(0, headerBytes + 4, headerBytes + 12)
  if (containers.includes(box.type)) for (const child of childBoxes(box)) removeTimes(child)
}
