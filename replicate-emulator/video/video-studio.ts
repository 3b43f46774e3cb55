/** Placeholder until the renderer is written. */
export class VideoStudio {
  async videoFor (prompt: string): Promise<Buffer> {
    return Buffer.from(prompt)
  }

  async close (): Promise<void> {}
}
