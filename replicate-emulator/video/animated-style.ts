import { disc, frameHeight, rotation, verticalGradient, frameWidth, type Context, type VideoStyle } from './frame.ts'

const waveRadius = 36
const waveColours = ['#1f3f77', '#2f5f9e', '#5d93c4', '#d9e6ea']

/** A woodblock print: paper, a red sun, rows of rolling waves, falling petals. */
export const animatedStyle: VideoStyle = {
  panel: 'rgba(250, 241, 219, 0.93)',
  border: '#b8322a',
  ink: '#1d2b52',
  ghosts: [],
  background (random) {
    const sunX = frameWidth * (0.35 + random() * 0.3)
    const petals = Array.from({ length: 26 }, () => ({ x: random() * frameWidth, y: random() * frameHeight, size: 4 + random() * 4, phase: random() }))
    return (context, time) => {
      context.fillStyle = verticalGradient(context, ['#e9b89a', '#f6e7c8', '#f3e3c3', '#cfdcd2'])
      context.fillRect(0, 0, frameWidth, frameHeight)
      context.fillStyle = '#c8352b'
      disc(context, sunX, 150 + Math.sin(rotation(time)) * 6, 84)
      context.fill()
      for (let row = 0; row < 12; row++) paintWaves(context, row, time)
      for (const { x, y, size, phase } of petals) {
        paintPetal(context, (x + Math.sin(rotation(time + phase)) * 24 + frameWidth) % frameWidth, (y + time * frameHeight) % frameHeight, size, rotation(time + phase))
      }
    }
  }
}

/** The pattern "seigaiha": rows of overlapping discs of rings. */
function paintWaves (context: Context, row: number, time: number): void {
  const direction = row % 2 === 0 ? 1 : -1
  const y = 390 + row * 25 + Math.sin(rotation(time) + row) * 5
  const shift = (row % 2) * waveRadius + direction * time * waveRadius * 2
  for (let x = -waveRadius * 3; x < frameWidth + waveRadius * 3; x += waveRadius * 2) {
    waveColours.forEach((colour, ring) => {
      context.fillStyle = colour
      disc(context, x + shift, y, waveRadius - ring * 9)
      context.fill()
      context.strokeStyle = '#16284f'
      context.lineWidth = 1.2
      context.stroke()
    })
  }
}

function paintPetal (context: Context, x: number, y: number, size: number, angle: number): void {
  context.save()
  context.translate(x, y)
  context.rotate(angle)
  context.fillStyle = '#f4a9b8'
  context.strokeStyle = '#c96f86'
  context.beginPath()
  context.ellipse(0, 0, size, size / 2, 0, 0, 2 * Math.PI)
  context.fill()
  context.stroke()
  context.restore()
}
