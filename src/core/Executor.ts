/**
 * The service `Executor`: where heavy conversions run. By default in this process, by native programs beside it; a site whose gateway is too
 * small for them gives an executor that makes jobs of its workload manager of them.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ShifterError } from "./Errors.js"
import type { ResolvedImage, Workspace } from "./Image.js"
import type { RootfsSummary } from "./RootfsStream.js"

/** A conversion: a resolved image becomes a packed file. */
export interface Conversion {
  readonly resolved: ResolvedImage
  readonly workspace: Workspace
  /** Where the packed image is written; does not exist yet. */
  readonly target: string
  /**
   * Begins to fetch, and succeeds when everything is here that the conversion needs: the blobs of `resolved` that are `stored`, below
   * `workspace.blobs`. It is done once, however often it is asked, and also by `here`.
   */
  readonly fetched: Effect.Effect<void, ShifterError>
  /**
   * The conversion as this process would do it: an executor may run it as it is, when its turn comes. It fetches and packs in one pass, as far as
   * that is not done.
   */
  readonly here: Effect.Effect<RootfsSummary, ShifterError>
}

/**
 * @example An executor that lets one heavy conversion run at a time, and light ones at once
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Executor } from "shifter-sdk"
 *
 * const heavy = 2 * 1024 ** 3
 * export const layer = Layer.effect(
 *   Executor.Executor,
 *   Effect.map(Effect.makeSemaphore(1), (slot) =>
 *     Executor.Executor.of({
 *       convert: ({ fetched, here, resolved }) => {
 *         const bytes = resolved.blobs.reduce((sum, blob) => sum + blob.bytes, 0)
 *         // Whoever waits for a slow registry holds no slot.
 *         return bytes < heavy ? here : Effect.zipRight(fetched, slot.withPermits(1)(here))
 *       }
 *     })
 *   )
 * )
 * ```
 */
export class Executor extends Context.Tag("shifter-sdk/Executor")<
  Executor,
  {
    /**
     * Converts. Interrupting ends it wherever it runs, and leaves nothing but, perhaps, a part of the target. What it wrote is read back and
     * compared with the summary before it is published, so one that errs can publish nothing wrong, and one that lies about the summary can.
     */
    readonly convert: (conversion: Conversion) => Effect.Effect<RootfsSummary, ShifterError>
  }
>() {}

/** In this process, each at once: fetched and packed in one pass. For a process that pulls one image. */
export const layerAtOnce: Layer.Layer<Executor> = Layer.succeed(Executor, Executor.of({ convert: ({ here }) => here }))

/**
 * In this process, so many beside each other; the others are fetched meanwhile. Each begins when all of its layers are here, so that no registry,
 * slow or mean, holds a place.
 */
export const layerHere = (places: number): Layer.Layer<Executor> =>
  Layer.effect(
    Executor,
    Effect.map(Effect.makeSemaphore(places), (slots) => Executor.of({ convert: ({ fetched, here }) => Effect.zipRight(fetched, slots.withPermits(1)(here)) }))
  )
