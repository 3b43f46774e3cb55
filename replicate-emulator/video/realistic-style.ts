import { disc, frameHeight, rotation, verticalGradient, frameWidth, type Context, type VideoStyle } from './frame.ts'

const ridgeCount = 4

/** Dusk over misty mountains, a low sun, drifting light. */
export const realisticStyle: VideoStyle = {
  panel: 'rgba(6, 10, 24, 0.55)',
  border: null,
  ink: '#fdf6ea',
  ghosts: [],
  background (random) {
    const hue = 200 + random() * 60
    const sunX = frameWidth * (0.3 + random() * 0.4)
    const sparks = Array.from({ length: 40 }, () => ({ x: random() * frameWidth, y: random() * frameHeight, size: 0.6 + random() * 1.8, phase: random() }))
    return (context, time) => {
      context.fillStyle = verticalGradient(context, [`hsl(${hue} 55% 14%)`, `hsl(${hue + 60} 42% 34%)`, '#f2a56b', '#3b2a3f'])
      context.fillRect(0, 0, frameWidth, frameHeight)
      paintSun(context, sunX, 300 + Math.sin(rotation(time)) * 8)
      for (let ridge = 0; ridge < ridgeCount; ridge++) paintRidge(context, ridge, hue, time)
      for (const { x, y, size, phase } of sparks) {
        context.fillStyle = `rgba(255, 240, 210, ${0.35 + 0.35 * Math.sin(rotation(time + phase))})`
        disc(context, x + Math.sin(rotation(time + phase)) * 14, (y - time * frameHeight + frameHeight) % frameHeight, size)
        context.fill()
      }
      paintVignette(context)
    }
  }
}

function paintSun (context: Context, x: number, y: number): void {
  const glow = context.createRadialGradient(x, y, 8, x, y, 190)
  glow.addColorStop(0, 'rgba(255, 246, 214, 1)')
  glow.addColorStop(0.2, 'rgba(255, 214, 150, 0.75)')
  glow.addColorStop(1, 'rgba(255, 170, 110, 0)')
  context.fillStyle = glow
  context.fillRect(0, 0, frameWidth, frameHeight)
}

/** The nearer a ridge, the darker, and the faster it passes. */
function paintRidge (context: Context, ridge: number, hue: number, time: number): void {
  const base = 350 + ridge * 62
  context.fillStyle = `hsl(${hue + 30 - ridge * 8} ${30 + ridge * 5}% ${40 - ridge * 10}% / ${0.72 + ridge * 0.09})`
  context.beginPath()
  context.moveTo(0, frameHeight)
  for (let x = 0; x <= frameWidth; x += 6) {
    const along = x / frameWidth * (2 + ridge) * Math.PI
    const height = Math.sin(along + rotation(time) + ridge * 2) * 26 + Math.sin(along * 2.7 + ridge + rotation(time)) * 11
    context.lineTo(x, base - height)
  }
  context.lineTo(frameWidth, frameHeight)
  context.fill()
}

function paintVignette (context: Context): void {
  const vignette = context.createRadialGradient(frameWidth / 2, frameHeight / 2, 180, frameWidth / 2, frameHeight / 2, 420)
  vignette.addColorStop(0, 'rgba(0, 0, 0, 0)')
  vignette.addColorStop(1, 'rgba(0, 0, 0, 0.7)')
  context.fillStyle = vignette
  context.fillRect(0, 0, frameWidth, frameHeight)
}
