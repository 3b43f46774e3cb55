import { BufferSource, BufferTarget, EncodedPacketSink, EncodedVideoPacketSource, Input, MP4, Mp4OutputFormat, Output, type EncodedPacket } from 'mediabunny'

/**
 * A longer video that plays the frames of an MP4 file again and again.
 * @param times how often
 * @returns the file, with its index at the beginning, and its duration
 */
export async function repeatVideo (file: Buffer, times: number): Promise<{ content: Buffer, seconds: number }> {
  const track = await new Input({ source: new BufferSource(file), formats: [MP4] }).getPrimaryVideoTrack()
  if (track?.codec == null) throw new Error('The file has no video')
  const [duration, config] = [await track.computeDuration(), await track.getDecoderConfig()]
  const packets: EncodedPacket[] = []
  for await (const packet of new EncodedPacketSink(track).packets()) packets.push(packet)
  const [source, target] = [new EncodedVideoPacketSource(track.codec), new BufferTarget()]
  const output = new Output({ format: new Mp4OutputFormat({ fastStart: 'in-memory' }), target })
  output.addVideoTrack(source)
  await output.start()
  for (let round = 0; round < times; round++) {
    for (const packet of packets) {
      await source.add(packet.clone({ timestamp: packet.timestamp + round * duration }), { decoderConfig: config ?? undefined })
    }
  }
  await output.finalize()
  if (target.buffer === null) throw new Error('No file was written')
  return { content: Buffer.from(target.buffer), seconds: duration * times }
}
