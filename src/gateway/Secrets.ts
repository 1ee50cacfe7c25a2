/**
 * Credentials that users gave for their pulls. They are in this process's memory alone, for as long as their pull waits or runs.
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, GatewayError } from "../core/Errors.js"
import type { Credentials } from "../core/Image.js"

/** Pulls with credentials of one process. */
const MOST = 20_000

export interface Secrets {
  /** Whether there is room for another one's. Fails with `QUEUE_FULL`. */
  readonly room: () => Either.Either<void, GatewayError>
  /** Newer ones take the place of those that were given before. */
  readonly keep: (id: string, credentials: Credentials) => void
  readonly get: (id: string) => Credentials | undefined
  readonly forget: (id: string) => void
  /** Pulls that there are credentials for. */
  readonly ids: () => ReadonlyArray<string>
}

export const make = (most: number = MOST): Secrets => {
  const kept = new Map<string, Credentials>()
  return {
    room: () =>
      kept.size < most
        ? Either.right(undefined)
        : Either.left(new GatewayError(errorFields("QUEUE_FULL", `${kept.size} pulls with credentials wait here already`))),
    keep: (id, credentials) => void kept.set(id, credentials),
    get: (id) => kept.get(id),
    forget: (id) => void kept.delete(id),
    ids: () => [...kept.keys()]
  }
}
