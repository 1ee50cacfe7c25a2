/**
 * Small forms of text.
 *
 * @module
 */
import { Errors } from "shifter-sdk"

/** A text from an image, safe to show. */
export const safe = (text: string): string => Errors.printable(text)

const units = ["B", "KiB", "MiB", "GiB", "TiB"]

/** A size for people: three digits and a unit. */
export const bytes = (n: number): string => {
  let value = n
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(value >= 10 ? 1 : 2)} ${units[unit]}`
}

/** A number and what is counted. */
export const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`

/** A time for people. */
export const seconds = (s: number): string => (s < 90 ? `${Math.ceil(s)} s` : s < 5400 ? `${Math.ceil(s / 60)} min` : `${(s / 3600).toFixed(1)} h`)

/** Columns, as wide as their widest cell. */
export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()}\n`).join("")
}
