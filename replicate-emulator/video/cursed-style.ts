import { disc, frameHeight, rotation, verticalGradient, frameWidth, type Context, type VideoStyle } from './frame.ts'

interface Eye { x: number, y: number, size: number, phase: number }

/** A dark tunnel that breathes, and eyes in it that look about. */
export const cursedStyle: VideoStyle = {
  panel: 'rgba(4, 0, 6, 0.72)',
  border: '#5c0f1f',
  ink: '#f3ece4',
  ghosts: [['rgba(255, 20, 60, 0.55)', -2], ['rgba(0, 220, 200, 0.4)', 2]],
  background (random) {
    const hue = random() < 0.5 ? 345 : 275
    const eyes = Array.from({ length: 9 }, (_, index): Eye => ({
      x: 40 + random() * (frameWidth - 80), y: 40 + index / 9 * (frameHeight - 60) + random() * 30, size: 16 + random() * 20, phase: random()
    }))
    return (context, time) => {
      context.fillStyle = verticalGradient(context, ['#050208', `hsl(${hue} 60% 10%)`, '#020103'])
      context.fillRect(0, 0, frameWidth, frameHeight)
      for (let ring = 22; ring > 0; ring--) paintRing(context, ring, hue, time)
      for (const eye of eyes) paintEye(context, eye, time)
      context.fillStyle = `rgba(0, 0, 0, ${0.12 + 0.12 * Math.sin(rotation(time, 3))})`
      context.fillRect(0, 0, frameWidth, frameHeight)
    }
  }
}

function paintRing (context: Context, ring: number, hue: number, time: number): void {
  const radius = (ring + time * 2) * 20
  context.strokeStyle = `hsl(${hue + ring * 7} 75% ${ring % 2 === 0 ? 24 : 9}%)`
  context.lineWidth = 15
  context.beginPath()
  for (let step = 0; step <= 60; step++) {
    const angle = step / 60 * 2 * Math.PI
    const wobble = radius + Math.sin(angle * 5 + rotation(time) + ring * 0.6) * (6 + ring)
    context.lineTo(frameWidth / 2 + Math.cos(angle) * wobble * 0.8, frameHeight / 2 + Math.sin(angle) * wobble * 1.2)
  }
  context.stroke()
}

function paintEye (context: Context, { x, y, size, phase }: Eye, time: number): void {
  const open = Math.max(0.06, Math.abs(Math.sin(rotation(time + phase) / 2 + phase * Math.PI)))
  const lookX = Math.cos(rotation(time + phase)) * size * 0.25
  context.save()
  context.beginPath()
  context.ellipse(x, y, size, size * 0.6 * open, 0, 0, 2 * Math.PI)
  context.clip()
  context.fillStyle = '#e9dfc9'
  context.fillRect(x - size, y - size, size * 2, size * 2)
  context.fillStyle = '#8d1023'
  disc(context, x + lookX, y, size * 0.42)
  context.fill()
  context.fillStyle = '#050005'
  disc(context, x + lookX, y, size * 0.2)
  context.fill()
  context.restore()
}
