import fc from 'fast-check'
import { canary, hostileText } from './hostile-text.ts'

/** Replaced by the id of the prediction when the webhook is sent. */
export const predictionPlaceholder = 'PREDICTION-ID'

/** What Replicate says may be in the log, so the word that may not is left out. */
const text = hostileText.map((given) => given.replaceAll(canary, ''))
const value = fc.oneof(text, fc.jsonValue({ depthSize: 'small' }), fc.constantFrom(null, -1, 1e300, '', [], {}))
/** Addresses at which nothing may be fetched. */
const addresses = fc.constantFrom('http://127.0.0.1:9/video.mp4', 'file:///etc/passwd', 'data:video/mp4,x', 'http://[::1]:9/', 'https://127.0.0.1', 'http://127.0.0.1:9/\r\nX-Injected: yes')

const predictions = fc.record({
  id: fc.oneof({ weight: 6, arbitrary: fc.constant(predictionPlaceholder) }, { weight: 1, arbitrary: value }),
  status: fc.oneof({ weight: 4, arbitrary: fc.constantFrom('starting', 'processing', 'succeeded', 'failed', 'canceled', 'aborted') }, { weight: 1, arbitrary: value }),
  output: fc.oneof(addresses, fc.array(addresses, { maxLength: 3 }), value),
  logs: fc.oneof(fc.constantFrom(' 50%|#####     | 1/2', '999%|##| 999/1', '-5%|##| 1/2', '1e3%|##| 1/2'), value),
  error: value,
  input: value,
  model: value,
  version: value,
  source: value,
  webhook: value,
  created_at: fc.oneof(fc.constantFrom('2026-01-01T00:00:00Z', '+275760-09-13T00:00:00.001Z', '0000-00-00'), value),
  data_removed: value,
  metrics: fc.oneof(fc.record({ predict_time: value }), value)
}, { requiredKeys: ['id', 'status'] })

/** Bodies of webhooks that Replicate has signed: predictions with hostile members, and what is no prediction at all. */
export const webhookBodies: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: predictions.map((prediction) => JSON.stringify(prediction)) },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.oneof(text, fc.constantFrom('{"__proto__":{"polluted":true},"id":"x","status":"failed"}', '['.repeat(50_000))).map((given) => Buffer.from(given).toString()) }
)
