/**
 * Metrics, and their text for Prometheus. Labels name systems, routes, states and codes; never users, references or images.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricState from "effect/MetricState"
import type { PullQueue } from "../core/PullQueue.js"

const PREFIX = "shifter_"
const durations = MetricBoundaries.fromIterable([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800])

export const requests = Metric.counter(`${PREFIX}http_requests_total`, { description: "Requests by route, method and status.", incremental: true })
export const requestSeconds = Metric.histogram(`${PREFIX}http_request_seconds`, durations, "Time to answer by route.")
export const openRequests = Metric.gauge(`${PREFIX}http_requests_open`, { description: "Requests that are being answered." })
export const refusedRequests = Metric.counter(`${PREFIX}http_unauthenticated_total`, { description: "Requests of somebody unknown.", incremental: true })

export const pulls = Metric.counter(`${PREFIX}pulls_total`, { description: "Pulls that this process has ended, by outcome: done, or the code of the error.", incremental: true })
export const pulledBytes = Metric.counter(`${PREFIX}pulled_image_bytes_total`, { description: "Bytes of the images that pulls of this process ended with.", incremental: true })

export const phaseSeconds = Metric.histogram(`${PREFIX}phase_seconds`, durations, "Time that pulls and imports were in a phase.")
export const fetchedBytes = Metric.counter(`${PREFIX}fetched_bytes_total`, { description: "Bytes of layers and files that were fetched.", incremental: true })
export const conversions = Metric.counter(`${PREFIX}conversions_total`, { description: "Images that were packed.", incremental: true })
export const leaseLosses = Metric.counter(`${PREFIX}lease_losses_total`, { description: "Pulls that this process held and lost to another.", incremental: true })

type Counts = Effect.Effect.Success<(typeof PullQueue.Service)["counts"]>

/** Everything as text; the depth of the queue is asked for now, and is that of all replicas. */
export const text = (counts: Effect.Effect<Counts>): Effect.Effect<string> =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const headed = new Set<string>()
    const head = (name: string, kind: string, description: string) => {
      if (headed.has(name)) return
      headed.add(name)
      lines.push(`# HELP ${name} ${description.replace(/\n/g, " ")}`, `# TYPE ${name} ${kind}`)
    }
    for (const { count, state, system } of yield* counts) {
      head(`${PREFIX}queue_pulls`, "gauge", "Pulls of all replicas by system and state.")
      lines.push(`${PREFIX}queue_pulls${labels([["system", system], ["state", state]])} ${count}`)
    }
    const pairs = [...Metric.unsafeSnapshot()].filter(({ metricKey }) => metricKey.name.startsWith(PREFIX)).sort((a, b) => (a.metricKey.name < b.metricKey.name ? -1 : 1))
    for (const { metricKey, metricState } of pairs) {
      const { name, tags } = metricKey
      const own = tags.map(({ key, value }) => [key, value] as const)
      const description = metricKey.description._tag === "Some" ? metricKey.description.value : name
      if (MetricState.isCounterState(metricState)) {
        head(name, "counter", description)
        lines.push(`${name}${labels(own)} ${metricState.count}`)
      } else if (MetricState.isGaugeState(metricState)) {
        head(name, "gauge", description)
        lines.push(`${name}${labels(own)} ${metricState.value}`)
      } else if (MetricState.isHistogramState(metricState)) {
        head(name, "histogram", description)
        for (const [boundary, count] of metricState.buckets) {
          if (Number.isFinite(boundary)) lines.push(`${name}_bucket${labels([...own, ["le", String(boundary)]])} ${count}`)
        }
        lines.push(`${name}_bucket${labels([...own, ["le", "+Inf"]])} ${metricState.count}`, `${name}_sum${labels(own)} ${metricState.sum}`, `${name}_count${labels(own)} ${metricState.count}`)
      }
    }
    return `${lines.join("\n")}\n`
  })

const labels = (pairs: ReadonlyArray<readonly [string, string]>): string =>
  pairs.length === 0 ? "" : `{${pairs.map(([key, value]) => `${key}="${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`).join(",")}}`
