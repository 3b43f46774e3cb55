import type { Emulator } from '../../replicate-emulator/emulator.ts'
import type { Prediction } from '../../replicate-emulator/prediction.ts'

interface PredictOptions {
  /** any token will do: all are of one account */
  token?: string
  webhook?: string | undefined
}

/**
 * Creates a prediction at the emulator, as another client of the account does.
 * @returns its id
 */
export async function predict (apiUrl: string, input: Record<string, unknown>, { token = 'another', webhook }: PredictOptions = {}): Promise<string> {
  const response = await fetch(`${apiUrl}/models/luma/ray/predictions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ input, ...(webhook !== undefined && { webhook, webhook_events_filter: ['completed'] }) })
  })
  if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`)
  return (await response.json() as { id: string }).id
}

/** Creates a prediction at the emulator that has succeeded. */
export async function predictEnded ({ emulator, apiUrl }: { emulator: Emulator, apiUrl: string }, prompt = 'A whale'): Promise<Prediction> {
  const prediction = emulator.log.find(await predict(apiUrl, { prompt }))
  if (prediction === undefined) throw new Error('The prediction is missing')
  emulator.end(prediction, { status: 'succeeded' })
  return prediction
}
