/**
 * What collections, scrubs and pins say, as texts.
 *
 * @module
 */
import type { Collected, Kept, Scrubbed } from "shifter-sdk"
import { usageFault } from "./failure.js"
import { bytes, counted, safe } from "./text.js"

const millis = { d: 24 * 3600 * 1000, h: 3600 * 1000, m: 60 * 1000 }

/** When that time from now is; undefined: never. */
export const duration = (text: string | undefined): Date | undefined => {
  if (text === undefined) throw usageFault("keep needs --for TIME")
  if (text === "ever") return undefined
  const [, count, unit] = /^([1-9][0-9]{0,5})([dhm])$/.exec(text) ?? []
  if (count === undefined || (unit !== "d" && unit !== "h" && unit !== "m")) throw usageFault(`"${safe(text)}" is no time`, "Say 30d, 12h or 45m, or ever.")
  return new Date(Date.now() + Number(count) * millis[unit])
}

/** How an image is kept. */
export const kept = ({ expires, id, pins }: Kept): string =>
  `${id} ${expires === undefined ? "does not expire" : `expires ${new Date(expires).toISOString()}`}${pins.length === 0 ? "" : `; pinned by uid ${pins.join(", ")}`}\n`

/** What a collection did, or would do. */
export const collection = ({ expired, removed, scratch, staged, system }: Collected, dry: boolean): string => {
  const sum = (files: ReadonlyArray<{ readonly bytes: number }>) => bytes(files.reduce((all, file) => all + file.bytes, 0))
  return [
    ...expired.map(({ id, names }) => `expired  ${id}  ${safe(names.join(", "))}\n`),
    ...removed.map(({ bytes: size, id }) => `removed  ${id}  ${bytes(size)}\n`),
    `${dry ? "Would remove" : "Removed"} on ${system}: ${counted(removed.length, "image")} (${sum(removed)}), the names of ${counted(expired.length, "expired image")}, ${counted(staged.length, "file")} (${sum(staged)}) and ${counted(scratch, "directory")} of ended pulls.\n`
  ].join("")
}

/** What a scrub found. */
export const scrubbing = ({ damaged, read, system }: Scrubbed): string =>
  [...damaged.map(({ id, names, what }) => `damaged  ${id}  ${safe(names.join(", ") || "-")}: ${safe(what)}\n`), `Read ${counted(read, "image")} on ${system}; ${counted(damaged.length, "damaged one")}.\n`].join("")
