/**
 * Shows the progress of a pull: on a terminal a line for each layer and one for the step, with bytes, rate and time left; elsewhere a line
 * a step.
 *
 * @module
 */
import type { OnProgress, ProgressEvent } from "shifter-sdk"
import { bytes, counted, safe, seconds } from "./text.js"

export interface Display {
  readonly event: OnProgress
  /** Ends the display; the last line, if any, stays. Further calls do nothing. */
  readonly end: (last?: string) => void
}

const REDRAW_MILLIS = 100
const steps = { resolve: "Finding the image", fetch: "Fetching", convert: "Converting", transfer: "Verifying", publish: "Publishing" } as const

interface LayerState {
  readonly digest: string
  readonly size: number
  received: number
  cached: boolean
}

export const progressDisplay = (out: NodeJS.WriteStream, silent: boolean): Display => {
  if (silent) return { event: (event) => event._tag === "Warning" && out.write(`shifterimg: ${safe(event.message)}\n`), end: () => undefined }
  return out.isTTY ? terminal(out) : plain(out)
}

const summary = (layers: ReadonlyArray<LayerState>) => {
  const cached = layers.filter((layer) => layer.cached).length
  const size = layers.reduce((sum, layer) => sum + layer.size, 0)
  return `${counted(layers.length, "layer")}, ${bytes(size)}${cached > 0 ? ` (${cached} here already)` : ""}`
}

const layersOf = (event: ProgressEvent & { readonly _tag: "Resolved" }): Array<LayerState> => {
  const seen = new Set<string>()
  return event.layers.flatMap(({ bytes: size, digest }) => {
    if (seen.has(digest)) return []
    seen.add(digest)
    return [{ digest, size, received: 0, cached: false }]
  })
}

const rateLimit = (event: ProgressEvent & { readonly _tag: "RateLimit" }): string =>
  event.retryInSeconds === undefined
    ? `${safe(event.registry)} allows ${event.remaining ?? 0} more requests for now`
    : `${safe(event.registry)} is asked too often; retry in ${seconds(event.retryInSeconds)}`

const apply = (layers: ReadonlyArray<LayerState>, event: ProgressEvent & { readonly _tag: "Layer" }) => {
  const layer = layers.find((each) => each.digest === event.digest)
  if (layer === undefined) return
  layer.received = event.received
  layer.cached = event.cached
}

const plain = (out: NodeJS.WriteStream): Display => {
  let layers: ReadonlyArray<LayerState> = []
  let ended = false
  return {
    event: (event) => {
      switch (event._tag) {
        case "Phase":
          out.write(`${steps[event.phase]}${event.phase === "fetch" ? `: ${summary(layers)}` : ""}\n`)
          return
        case "Resolved":
          layers = layersOf(event)
          return
        case "Layer":
          apply(layers, event)
          return
        case "Total":
          layers = Array.from({ length: event.layers }, (_, at) => ({ digest: "", size: at === 0 ? event.bytes : 0, received: 0, cached: false }))
          return
        case "Waiting":
          out.write("Waiting for another pull of this image\n")
          return
        case "Warning":
          out.write(`Note: ${safe(event.message)}\n`)
          return
        case "RateLimit":
          out.write(`Note: ${rateLimit(event)}\n`)
          return
        case "Packed":
        case "Received":
      }
    },
    end: (last) => {
      if (!ended && last !== undefined) out.write(`${safe(last)}\n`)
      ended = true
    }
  }
}

const terminal = (out: NodeJS.WriteStream): Display => {
  let layers: ReadonlyArray<LayerState> = []
  let step = ""
  let packed = 0
  let drawn = 0
  let lastDraw = 0
  let ended = false
  let fetchStarted = 0
  let fetching = false

  const lines = (): ReadonlyArray<string> => {
    // Some terminals say 0 for "unknown".
    const width = (out.columns > 0 ? out.columns : 80) - 1
    const room = Math.max(1, out.rows - 3)
    const done = layers.reduce((sum, layer) => sum + layer.received, 0)
    const size = layers.reduce((sum, layer) => sum + layer.size, 0)
    const elapsed = (Date.now() - fetchStarted) / 1000
    const fromNetwork = layers.reduce((sum, layer) => sum + (layer.cached ? 0 : layer.received), 0)
    const rate = elapsed > 0.5 ? fromNetwork / elapsed : 0
    const left = rate > 0 ? `, ${bytes(rate)}/s, ${seconds((size - done) / rate)} left` : ""
    const shown = layers.length <= room ? layers : layers.filter((layer) => layer.received < layer.size).slice(0, room)
    const fetched = `${step} ${bytes(done)} of ${bytes(size)}`
    const written = packed > 0 ? `${bytes(packed)} packed` : ""
    const heads = fetching
      ? [`${fetched}${left}${written === "" ? "" : `; ${written}`}`, `${fetched}${left}`, fetched]
      : [`${step}${written === "" ? "" : `, ${written}`}`, step]
    return [...layerLines(shown, width), heads.find((head) => head.length <= width) ?? step.slice(0, width)]
  }

  const erase = () => {
    if (drawn > 0) out.write(`\x1b[${drawn}A\x1b[J`)
    drawn = 0
  }
  const draw = (now: boolean) => {
    if (ended || (!now && Date.now() - lastDraw < REDRAW_MILLIS)) return
    lastDraw = Date.now()
    const text = lines()
    erase()
    out.write(text.map((line) => `${line}\n`).join(""))
    drawn = text.length
  }
  return {
    event: (event) => {
      switch (event._tag) {
        case "Phase":
          step = steps[event.phase]
          fetching = event.phase === "fetch"
          if (fetching) fetchStarted = Date.now()
          draw(true)
          return
        case "Resolved":
          layers = layersOf(event)
          return
        case "Layer":
          apply(layers, event)
          draw(false)
          return
        case "Total":
          layers = [{ digest: "", size: event.bytes, received: event.received, cached: false }]
          draw(false)
          return
        case "Packed":
          packed = event.bytes
          draw(false)
          return
        case "Received":
          step = `Fetching: ${bytes(event.received)}${event.bytes === undefined ? "" : ` of ${bytes(event.bytes)}`}`
          draw(false)
          return
        case "Waiting":
          step = "Waiting for another pull of this image"
          draw(true)
          return
        case "RateLimit":
          erase()
          out.write(`Note: ${rateLimit(event)}\n`)
          draw(true)
          return
        case "Warning":
          erase()
          out.write(`Note: ${safe(event.message)}\n`)
          draw(true)
      }
    },
    end: (last) => {
      if (ended) return
      erase()
      ended = true
      if (last !== undefined) out.write(`${safe(last)}\n`)
    }
  }
}

const WIDEST_BAR = 24
const NARROWEST_BAR = 6

/** What a line can't hold whole it leaves out: the bar first, then the digest. Numbers are never cut. */
const layerLines = (layers: ReadonlyArray<LayerState>, width: number): ReadonlyArray<string> => {
  const texts = layers.map((layer) => `${bytes(layer.received)} of ${bytes(layer.size)}${layer.cached ? ", here already" : ""}`)
  const digest = 12
  const room = width - Math.max(0, ...texts.map((text) => text.length)) - 2
  const barWidth = Math.min(WIDEST_BAR, room - (digest + 2) - 4)
  return layers.map((layer, i) => {
    const name = room < digest + 2 ? "" : `${layer.digest.slice(7, 7 + digest)}  `
    return `  ${name}${barWidth < NARROWEST_BAR ? "" : `${bar(layer.received, layer.size, barWidth)}  `}${texts[i] ?? ""}`.slice(0, width)
  })
}

const bar = (done: number, size: number, width: number): string => {
  const full = size === 0 ? width : Math.min(width, Math.floor((done / size) * width))
  return `[${"=".repeat(full)}${" ".repeat(width - full)}]`
}
