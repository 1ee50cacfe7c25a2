/**
 * Whether a pull that is asked for looks at the registry again, by the reference's rules.
 *
 * @module
 */

/** What the reference's command line prints of a pull or an image. */
export type Status = "INIT" | "PENDING" | "PULLING" | "EXAMINATION" | "CONVERSION" | "TRANSFER" | "READY" | "FAILURE" | "EXPIRED"

/** How a reference stands. Times in milliseconds. */
export interface Standing {
  readonly status?: Status | undefined
  /** When the registry was looked at last, or when that failed. */
  readonly lastPull?: number | undefined
  /** When a running pull was heard of last. */
  readonly heartbeat?: number | undefined
}

const SILENT = 3600 * 1000

/** Whether a new pull begins. */
export const isPullable = (standing: Standing | undefined, now: number, updateMillis: number): boolean => {
  const { heartbeat, lastPull, status } = standing ?? {}
  if (status === undefined || status === "EXPIRED" || lastPull === undefined) return true
  if (status === "READY" || status === "FAILURE") return now > lastPull + updateMillis
  return heartbeat !== undefined && now - heartbeat > SILENT
}
