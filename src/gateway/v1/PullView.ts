/**
 * A pull as those see it who asked for it.
 *
 * @module
 */
import type { QueuedPull } from "../../core/PullQueue.js"
import type { Pull } from "./Schemas.js"

/** Who else asked is told to administrators alone. */
export const pullOf = ({ askers, attempts, changed, created, id, notBefore, order, outcome, progress, state }: QueuedPull, isForAdmin: boolean): Pull => ({
  id,
  system: order.system,
  reference: order.reference,
  platform: order.platform,
  state,
  imageId: outcome?._tag === "Done" ? outcome.imageId : undefined,
  error: outcome?._tag === "Failed" ? { code: outcome.code, what: outcome.what, remedy: outcome.remedy } : undefined,
  progress,
  attempts,
  created,
  changed,
  notBefore,
  askers: isForAdmin ? askers : undefined
})
