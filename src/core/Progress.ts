/**
 * What a pull tells while it runs. Events are facts, not texts: a program shows them as it likes.
 *
 * @module
 */

/** The steps of a pull, in their order. */
export const phases = ["resolve", "fetch", "convert", "transfer", "publish"] as const
export type Phase = (typeof phases)[number]

export type ProgressEvent =
  /** A step began. */
  | { readonly _tag: "Phase"; readonly phase: Phase }
  /** The reference is known to be this image. `layers` is empty for sources without layers. */
  | { readonly _tag: "Resolved"; readonly id: string; readonly layers: ReadonlyArray<{ readonly digest: string; readonly bytes: number }> }
  /** Bytes of a layer arrived, or it was found to be here already (`cached`). */
  | { readonly _tag: "Layer"; readonly digest: string; readonly received: number; readonly bytes: number; readonly cached: boolean }
  /** Bytes of a file that is imported, or of a tree that is read, arrived; `bytes` is how many there will be, if that is known. */
  | { readonly _tag: "Received"; readonly received: number; readonly bytes: number | undefined }
  /** Of a pull that a gateway service runs: all layers together, in place of each by itself. */
  | { readonly _tag: "Total"; readonly received: number; readonly bytes: number; readonly layersDone: number; readonly layers: number }
  /** Bytes of the root file system went into the packer. */
  | { readonly _tag: "Packed"; readonly bytes: number }
  /** Another process converts this image; this one waits for it. */
  | { readonly _tag: "Waiting"; readonly id: string }
  /**
   * A registry limits how often it is asked: so many requests are left, or it wants to be left alone for so long (the pull waits and goes on by
   * itself).
   */
  | { readonly _tag: "RateLimit"; readonly registry: string; readonly remaining: number | undefined; readonly retryInSeconds: number | undefined }
  /** Something a person should know; the pull goes on. */
  | { readonly _tag: "Warning"; readonly message: string }

/** Receives events. It must return at once; one that throws, or returns a promise that rejects, is told nothing more, and the pull goes on. */
export type OnProgress = (event: ProgressEvent) => void

/** A receiver that can do no harm. */
export const careful = (onProgress: OnProgress | undefined): OnProgress => {
  let receiver = onProgress
  const leave = () => {
    receiver = undefined
  }
  return (event) => {
    try {
      // One that is asynchronous is no function of this type, but a program in JavaScript has no types.
      const result: unknown = receiver?.(event)
      if (result instanceof Promise) result.catch(leave)
    } catch {
      leave()
    }
  }
}
