import { frameHeight, rotation, verticalGradient, frameWidth, type VideoStyle } from './frame.ts'

/** The style of a prompt without a known style: a slow northern light. */
export const plainStyle: VideoStyle = {
  panel: 'rgba(5, 12, 26, 0.6)',
  border: null,
  ink: '#f4fbff',
  ghosts: [],
  background (random) {
    const hue = random() * 360
    return (context, time) => {
      context.fillStyle = verticalGradient(context, ['#030812', '#0b1830', '#06101d'])
      context.fillRect(0, 0, frameWidth, frameHeight)
      for (let veil = 0; veil < 5; veil++) {
        context.fillStyle = `hsl(${hue + veil * 24} 70% 60% / 0.16)`
        context.beginPath()
        context.moveTo(0, 0)
        for (let x = 0; x <= frameWidth; x += 8) context.lineTo(x, 190 + veil * 70 + Math.sin(x / 60 + veil + rotation(time)) * 50)
        context.lineTo(frameWidth, 0)
        context.fill()
      }
    }
  }
}
