/**
 * How far a pull is, as one value, of the events that it tells.
 *
 * @module
 */
import { printable } from "../core/Errors.js"
import type { ProgressEvent } from "../core/Progress.js"
import { type PullProgress, WARNINGS_MOST } from "../core/PullQueue.js"

export interface Standing {
  readonly add: (event: ProgressEvent) => void
  readonly now: () => PullProgress
  /** What is shown while it waits to be begun again: what was said so far, and why. */
  readonly again: (why: string | undefined) => PullProgress
  /** Whether it waits for another pull of the same image. */
  readonly isWaiting: () => boolean
}

/** Before anything is known. */
const begun: Pick<PullProgress, "phase" | "imageId" | "packed" | "isWaiting"> = { phase: "resolve", imageId: undefined, packed: 0, isWaiting: false }
/** What each try that failed begins with, so that the last one alone is told. */
const FAILED_TRY = "Try "

/** `said` are the warnings of the tries before. */
export const make = (said: ReadonlyArray<string> = []): Standing => {
  const layers = new Map<string, { received: number; readonly bytes: number }>()
  let known: Pick<PullProgress, "phase" | "imageId" | "packed" | "isWaiting"> = begun
  let warnings = said
  const warn = (text: string, replaces?: string) => {
    const warning = printable(text)
    warnings = [...warnings.filter((other) => other !== warning && (replaces === undefined || !other.startsWith(replaces))), warning].slice(-WARNINGS_MOST)
  }
  return {
    add: (event) => {
      switch (event._tag) {
        case "Phase":
          known = { ...known, phase: event.phase, isWaiting: false }
          break
        case "Resolved":
          known = { ...known, imageId: event.id }
          for (const { bytes, digest } of event.layers) layers.set(digest, { received: 0, bytes })
          break
        case "Layer": {
          const layer = layers.get(event.digest)
          if (layer !== undefined) layer.received = Math.min(layer.bytes, event.received)
          break
        }
        case "Received":
          layers.set("file", { received: event.received, bytes: event.bytes ?? event.received })
          break
        case "Packed":
          known = { ...known, packed: event.bytes }
          break
        // Of a client of another gateway, which a pull of the queue is not.
        case "Total":
          break
        case "Waiting":
          known = { ...known, imageId: event.id, isWaiting: true }
          break
        case "RateLimit": {
          const start = `The registry ${event.registry} limits how often it is asked`
          warn(event.retryInSeconds === undefined ? `${start}: ${event.remaining ?? 0} requests are left` : `${start}: it is asked again in ${event.retryInSeconds} s`, start)
          break
        }
        case "Warning":
          warn(event.message)
          break
      }
    },
    isWaiting: () => known.isWaiting,
    again: (why) => {
      if (why !== undefined) warn(`${FAILED_TRY}${why}`, FAILED_TRY)
      return { ...begun, received: 0, bytes: 0, layersDone: 0, layers: 0, warnings }
    },
    now: () => {
      const all = [...layers.values()]
      return {
        ...known,
        received: all.reduce((sum, layer) => sum + layer.received, 0),
        bytes: all.reduce((sum, layer) => sum + layer.bytes, 0),
        layersDone: all.filter(({ bytes, received }) => received >= bytes).length,
        layers: all.length,
        warnings
      }
    }
  }
}
