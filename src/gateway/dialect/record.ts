/**
 * The record of an image or a pull, as the reference's command line reads it: thirteen keys, the text `MISSING` for what is not there.
 *
 * @module
 */
import { printable } from "../../core/Errors.js"
import type { ImageRecord } from "../../core/ImageRecord.js"
import type { PullOrder, QueuedPull } from "../../core/PullQueue.js"
import type { Dialect } from "../../core/ServiceConfig.js"
import type { Status } from "./pullable.js"
import { short } from "./target.js"

const MISSING = "MISSING"

/** What a record says. A list or a text that is undefined is missing. */
export interface Shown {
  readonly id?: string | undefined
  readonly system: string
  readonly itype: string
  readonly tag: ReadonlyArray<string>
  readonly status: Status
  readonly userACL: ReadonlyArray<number>
  readonly groupACL: ReadonlyArray<number>
  readonly ENV?: ReadonlyArray<string> | undefined
  readonly ENTRY?: ReadonlyArray<string> | undefined
  readonly WORKDIR?: string | undefined
  readonly LABELS?: Readonly<Record<string, string>> | undefined
  /** Milliseconds since 1970. */
  readonly lastPull?: number | undefined
  readonly message?: string | undefined
}

/** A time in seconds. The reference's command line passes over a number without a fraction. */
export const seconds = (millis: number): string => (millis / 1000).toFixed(3)

/** Characters of a field in a list, which is made whole: what a few images say of themselves is not to keep everyone from theirs. */
export const LISTED = 16_384

/** The text of a record. A field of more than `most` characters is told as missing. */
export const write = (shown: Shown, most = Number.POSITIVE_INFINITY): string => {
  const { lastPull, message, ...others } = shown
  const keys = ["id", "system", "itype", "tag", "status", "userACL", "groupACL", "ENV", "ENTRY", "WORKDIR", "LABELS"] as const
  const fields = keys.map((key) => {
    const text = JSON.stringify(others[key] ?? MISSING)
    return `"${key}":${text.length > most ? JSON.stringify(MISSING) : text}`
  })
  const last = lastPull === undefined ? JSON.stringify(MISSING) : seconds(lastPull)
  return `{${[...fields, `"last_pull":${last}`, `"status_message":${JSON.stringify(message ?? MISSING)}`].join(",")}}`
}

/** A published image by names of one type. */
export const ofImage = (system: string, record: ImageRecord, names: ReadonlyArray<string>, lastPull: number | undefined, dialect: Dialect): Shown => {
  const shorts = names.map((name) => short(name, dialect))
  const isPrivate = record.access === "private"
  return {
    id: record.id,
    system,
    itype: shorts[0]?.type ?? MISSING,
    tag: shorts.map(({ tag }) => tag),
    status: "READY",
    userACL: isPrivate ? [...new Set([record.owner, ...record.allowUids])] : [],
    groupACL: isPrivate ? record.allowGids : [],
    ENV: record.env,
    ENTRY: record.entrypoint.length === 0 ? undefined : record.entrypoint,
    WORKDIR: record.workdir,
    LABELS: record.labels.length === 0 ? undefined : Object.fromEntries(record.labels),
    lastPull,
    message: ""
  }
}

/** The state of a pull, in the reference's words. One that has only just been asked for is in the state `INIT`. */
export const statusOf = (pull: QueuedPull, isNew: boolean): Status => {
  switch (pull.state) {
    case "waiting":
      return isNew && pull.attempts === 0 ? "INIT" : "PENDING"
    case "running":
      switch (pull.progress?.phase) {
        case undefined:
          return "PENDING"
        case "resolve":
        case "fetch":
          return "PULLING"
        case "convert":
          return "CONVERSION"
        case "transfer":
        case "publish":
          return "TRANSFER"
      }
      break
    case "done":
      return "READY"
    case "failed":
    case "cancelled":
      return "FAILURE"
  }
}

/** A user name or password before a host must not be shown, whoever wrote it there. */
const redacted = (text: string): string => printable(text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi, "$1…@"))

/** What is to be said of a pull, the reason of a failure above all. */
export const messageOf = (pull: QueuedPull): string => {
  const { outcome, progress } = pull
  if (outcome?._tag === "Failed") return redacted(`${outcome.code}: ${outcome.what}. ${outcome.remedy}`)
  if (outcome?._tag === "Cancelled") return "The pull was cancelled."
  if (pull.state === "waiting") return pull.attempts === 0 ? "Waiting for its turn" : "Waiting to be tried again"
  if (progress === undefined) return ""
  if (progress.isWaiting) return "Waiting for another pull of the same image"
  switch (progress.phase) {
    case "resolve":
      return "Getting manifest"
    case "fetch":
      return `Pulling layers: ${progress.layersDone} of ${progress.layers}`
    case "convert":
      return "Converting"
    case "transfer":
    case "publish":
      return "Publishing"
  }
}

/** A pull that has not ended with an image. */
export const ofPull = (pull: QueuedPull, dialect: Dialect, isNew: boolean): Shown => {
  const { type, tag } = short(pull.order.reference, dialect)
  return {
    id: pull.progress?.imageId,
    system: pull.order.system,
    itype: type,
    tag: [tag],
    status: statusOf(pull, isNew),
    ...lists(pull.order),
    lastPull: pull.created,
    message: messageOf(pull)
  }
}

const lists = ({ allowGids, allowUids }: PullOrder) => ({ userACL: allowUids ?? [], groupACL: allowGids ?? [] })
