/**
 * From layer blobs to the root file system: inflates, checks diff ids and merges, newest layer first, each as soon as it is here.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { type Digest, hex } from "../../core/Digest.js"
import { errorFields, ImageError } from "../../core/Errors.js"
import type { RootfsSummary } from "../../core/RootfsStream.js"
import { TarFault } from "../../core/tar/TarEntry.js"
import { type TarHandler, TarReader } from "../../core/tar/TarReader.js"
import { inflate } from "./Inflate.js"
import { LayerMerger, type MergeLimits, PlanNeeded } from "./LayerMerger.js"
import { type LayerPlan, LayerPlanner } from "./LayerPlan.js"

/** A layer as the merge needs it. */
export interface MergeLayer {
  /** Digest of the blob, for messages. */
  readonly digest: Digest
  /** Digest of the inflated layer, from the image configuration. */
  readonly diffId: Digest
  /** The path of the verified blob, once it is here. */
  readonly file: () => Promise<string>
}

/** The stream must be started anew, with plans. What was written so far is void. */
export { PlanNeeded }

/**
 * The merged tar stream of layers (oldest first, as manifests list them). Throws {@link ImageError}, or {@link PlanNeeded} when plans are not
 * given and needed.
 */
export async function* mergeLayers(
  layers: ReadonlyArray<MergeLayer>,
  plans: ReadonlyArray<LayerPlan> | undefined,
  limits: MergeLimits,
  ended: (summary: RootfsSummary) => void
): AsyncGenerator<Buffer> {
  const merger = new LayerMerger(limits)
  const read = (i: number) => {
    const layer = layers[i]
    return layer === undefined ? undefined : new Ahead(inflated(layer, i, layers.length))
  }
  let next = read(layers.length - 1)
  try {
    for (let i = layers.length - 1; i >= 0; i--) {
      const layer = layers[i]
      const chunks = next
      if (layer === undefined || chunks === undefined) continue
      // The older layer is inflated while the newer one is merged.
      next = read(i - 1)
      merger.startLayer(i, plans?.[i])
      yield* readLayer(layer, i, layers.length, chunks, merger, limits, () => merger.take(false))
      worded(layer, i, layers.length, () => merger.endLayer())
    }
  } finally {
    await next?.end()
  }
  merger.end()
  ended(merger.summary())
  yield* merger.take(true)
}

/** Looks ahead at every layer. */
export const planLayers = async (layers: ReadonlyArray<MergeLayer>, limits: MergeLimits): Promise<ReadonlyArray<LayerPlan>> => {
  const plans: Array<LayerPlan> = []
  for (const [i, layer] of layers.entries()) {
    const planner = new LayerPlanner(limits)
    for await (const _ of readLayer(layer, i, layers.length, new Ahead(inflated(layer, i, layers.length)), planner, limits, () => [])) continue
    plans.push(planner.plan())
  }
  return plans
}

/** Reads one layer through a handler, yielding what `take` gives after each piece, and checks its diff id. */
async function* readLayer(
  layer: MergeLayer,
  index: number,
  count: number,
  chunks: Ahead,
  handler: TarHandler,
  limits: MergeLimits,
  take: () => ReadonlyArray<Buffer>
): AsyncGenerator<Buffer> {
  const hash = createHash("sha256")
  const reader = new TarReader(handler)
  let bytes = 0
  try {
    for (let chunk = await chunks.next(); chunk !== undefined; chunk = await chunks.next()) {
      bytes += chunk.length
      if (bytes > limits.inflatedBytes) {
        throw new ImageError(errorFields("LIMIT_EXCEEDED", `${nameOf(layer, index, count)} inflates to more than ${limits.inflatedBytes} bytes`))
      }
      const piece = chunk
      hash.update(piece)
      worded(layer, index, count, () => reader.push(piece))
      yield* take()
    }
  } finally {
    await chunks.end()
  }
  worded(layer, index, count, () => reader.end())
  const digest = hash.digest("hex")
  if (digest !== hex(layer.diffId)) {
    throw new ImageError(
      errorFields("DIGEST_MISMATCH", `${nameOf(layer, index, count)} inflates to sha256:${digest}, but the image configuration says ${layer.diffId}`)
    )
  }
}

async function* inflated(layer: MergeLayer, index: number, count: number): AsyncGenerator<Buffer> {
  yield* inflate(await layer.file(), nameOf(layer, index, count))
}

/** Reads one piece ahead of its consumer, beginning at once. */
class Ahead {
  private ahead: Promise<IteratorResult<Buffer, unknown>>

  constructor(private readonly chunks: AsyncGenerator<Buffer>) {
    this.ahead = this.read()
  }

  /** The next piece; undefined at the end. */
  async next(): Promise<Buffer | undefined> {
    const { done, value } = await this.ahead
    if (done === true) return undefined
    this.ahead = this.read()
    return value
  }

  /** Ends the reading, early or not. */
  async end(): Promise<void> {
    // A generator that waits for its layer can't be ended before that comes or fails; nobody waits for it here.
    void this.chunks.return(undefined).catch(() => undefined)
    await Promise.race([this.ahead.catch(() => undefined), Promise.resolve()])
  }

  private read(): Promise<IteratorResult<Buffer, unknown>> {
    const reading = this.chunks.next()
    // Its failure is seen where it is awaited, not when it happens.
    reading.catch(() => undefined)
    return reading
  }
}

const nameOf = (layer: MergeLayer, index: number, count: number) => `Layer ${index + 1} of ${count} (${layer.digest.slice(0, 19)}…)`

/** Words a fault of the stream with the layer it is in. */
const worded = (layer: MergeLayer, index: number, count: number, f: () => void): void => {
  try {
    f()
  } catch (error) {
    if (!(error instanceof TarFault)) throw error
    const limit = /more than \d+/.test(error.why)
    throw new ImageError(errorFields(limit ? "LIMIT_EXCEEDED" : "LAYER_INVALID", `${nameOf(layer, index, count)}: ${error.message}`, { cause: error }))
  }
}
