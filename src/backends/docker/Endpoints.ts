/**
 * Where a repository can be had: its mirrors in their order, then the registry itself. One that fails is left for the next; what counts is
 * the digest, whoever it came from.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { ErrorCode, ImageError } from "../../core/Errors.js"
import type { Passing } from "../../core/http/Patience.js"
import type { RegistryClient } from "./RegistryClient.js"

export interface Endpoints {
  /** Does something with the first endpoint that can; the last one's failure is the failure of all. */
  readonly use: <A, R>(f: (client: RegistryClient) => Effect.Effect<A, ImageError | Passing, R>) => Effect.Effect<A, ImageError | Passing, R>
  /** Leaves the mirrors out from now on, since one of them may be why this failed; false when that can't be, or there were none to leave out. */
  readonly distrustMirrors: (failure: ImageError) => boolean
  /** Whether any of them asked for a login so far. */
  readonly decided: Effect.Effect<boolean>
}

/** Failures of this machine, which no other endpoint mends. */
const ours: ReadonlySet<ErrorCode> = new Set(["STORAGE_FULL", "STATE_UNUSABLE", "CONFIG_INVALID"])

export const make = (mirrors: ReadonlyArray<RegistryClient>, registry: RegistryClient): Endpoints => {
  // Those that can't be reached are not asked again by the same pull.
  const down = new Set<RegistryClient>()
  return {
    use: (f) => {
      const from = (i: number): ReturnType<typeof f> => {
        const client = mirrors[i]
        if (client === undefined) return f(registry)
        if (down.has(client)) return from(i + 1)
        return Effect.catchAll(f(client), (failure) => {
          if (failure._tag === "ImageError" && ours.has(failure.code)) return Effect.fail(failure)
          if (failure._tag === "Passing" || failure.code !== "MANIFEST_NOT_FOUND") down.add(client)
          return from(i + 1)
        })
      }
      return from(0)
    },
    distrustMirrors: (failure) => {
      if (ours.has(failure.code)) return false
      const before = down.size
      mirrors.forEach((mirror) => down.add(mirror))
      return down.size > before
    },
    decided: Effect.map(Effect.forEach([...mirrors, registry], (client) => client.decided), (all) => all.includes(true))
  }
}
