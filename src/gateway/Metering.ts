/**
 * What a pull or an import tells of itself, as metrics.
 *
 * @module
 */
import * as Metric from "effect/Metric"
import type { Phase, ProgressEvent } from "../core/Progress.js"
import * as Metrics from "./Metrics.js"

export interface Meter {
  readonly add: (event: ProgressEvent) => void
  /** It ended, whatever how. */
  readonly end: () => void
}

/** The meter of one pull or import. */
export const make = (): Meter => {
  let entered: { readonly phase: Phase; readonly at: number } | undefined
  const received = new Map<string, number>()
  const enter = (phase: Phase | undefined) => {
    const now = performance.now()
    if (entered !== undefined) Metric.tagged(Metrics.phaseSeconds, "phase", entered.phase).unsafeUpdate((now - entered.at) / 1000, [])
    entered = phase === undefined ? undefined : { phase, at: now }
  }
  const fetched = (what: string, bytes: number) => {
    const before = received.get(what) ?? 0
    if (bytes > before) Metrics.fetchedBytes.unsafeUpdate(bytes - before, [])
    received.set(what, bytes)
  }
  return {
    add: (event) => {
      switch (event._tag) {
        case "Phase":
          // What is transferred was packed.
          if (event.phase === "transfer") Metrics.conversions.unsafeUpdate(1, [])
          enter(event.phase)
          break
        case "Layer":
          // What was here already counts from there on.
          if (event.cached) received.set(event.digest, event.received)
          else fetched(event.digest, event.received)
          break
        case "Received":
          fetched("file", event.received)
          break
        default:
          break
      }
    },
    end: () => enter(undefined)
  }
}
