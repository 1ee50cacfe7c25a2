/**
 * How often registries may be asked: a site's own limit for each, which keeps it below those of the registry. A budget of so many requests in so
 * many seconds is never exceeded, whatever the seconds: half of them may come at once, the others evenly.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { errorFields, ImageError } from "../../core/Errors.js"
import type { RegistryBudget } from "../../core/Registries.js"
import { LONGEST_WAIT, Passing } from "../../core/http/Patience.js"

export interface Budgets {
  /** Waits for its turn; `waiting` is told if that is not now. A turn that is too far away is refused, with its time. */
  readonly turn: (host: string, budget: RegistryBudget | undefined, waiting: (millis: number) => void) => Effect.Effect<void, Passing>
}

/** Waits that are not worth a word. */
const SHORT = 1000

interface Bucket {
  /** Requests that may come now; negative while some wait. */
  left: number
  at: number
}

/** The budgets of a process; there are as many as the configuration names. */
export const make = (): Budgets => {
  const buckets = new Map<string, Bucket>()
  return {
    turn: (host, budget, waiting) =>
      budget === undefined
        ? Effect.void
        : Effect.gen(function* () {
            const atOnce = Math.ceil(budget.requests / 2)
            const perMilli = (budget.requests - atOnce) / (budget.seconds * 1000)
            const now = yield* Clock.currentTimeMillis
            const bucket = buckets.get(host) ?? { left: atOnce, at: now }
            buckets.set(host, bucket)
            bucket.left = Math.min(atOnce, bucket.left + Math.max(0, now - bucket.at) * perMilli)
            bucket.at = now
            const millis = Math.max(0, (1 - bucket.left) / perMilli)
            if (millis > LONGEST_WAIT) {
              const seconds = Math.ceil(millis / 1000)
              const what = `The site's budget for ${host}, ${budget.requests} requests in ${budget.seconds} s, is used up`
              return yield* new Passing({ error: new ImageError(errorFields("REGISTRY_RATE_LIMITED", what, { remedy: `Retry in ${seconds} s.`, retryAfter: seconds })), afterMillis: millis })
            }
            bucket.left -= 1
            if (millis === 0) return
            if (millis >= SHORT) waiting(millis)
            yield* Effect.sleep(millis).pipe(Effect.onInterrupt(() => Effect.sync(() => void (bucket.left += 1))))
          })
  }
}
