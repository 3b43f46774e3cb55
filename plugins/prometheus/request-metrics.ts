import { requestEnded, type RequestEnded } from '../../services/telemetry/channels.ts'
import { toSeconds, type Metrics } from './metrics.ts'

/** A method that no route has can be any word that Node's parser knows, so the others share one label. */
const knownMethods = new Set(['GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'PATCH', 'OPTIONS'])
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** Counts requests by the pattern of their route, never by their address: the number of time series has a bound. */
export function measureRequests (metrics: Metrics): void {
  const requests = metrics.counter({
    name: 'dreamreel_http_requests_total',
    help: 'Requests that were answered or aborted. Route: the pattern, or none for unknown addresses and requests that are not valid HTTP. Status: aborted if the client left before an answer began',
    labels: { method: [], route: [], status: [] }
  })
  const durations = metrics.histogram({
    name: 'dreamreel_http_request_duration_seconds',
    help: 'Time from the start of a request to the end of its answer. Event streams and Prefer: wait take as long as their clients wait',
    labels: { method: [], route: [] },
    buckets
  })
  metrics.on(requestEnded, ({ method: given, route: pattern, status, ms }: RequestEnded) => {
    const method = knownMethods.has(given) ? given : 'other'
    const route = pattern ?? 'none'
    requests.inc({ method, route, status: status ?? 'aborted' })
    durations.observe({ method, route }, toSeconds(ms))
  })
}
