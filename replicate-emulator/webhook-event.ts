export const webhookEvents = ['start', 'output', 'logs', 'completed'] as const
export type WebhookEvent = typeof webhookEvents[number]

export function isWebhookEvent (value: unknown): value is WebhookEvent {
  return webhookEvents.some((event) => event === value)
}
