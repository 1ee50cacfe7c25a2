/**
 * What `shifter-tree` says of a tree, and what of it is told to whoever asked for the image.
 *
 * @module
 */
import { type ErrorCode, isErrorCode } from "../../core/Errors.js"

/** What became of names, in the order in which it is told. */
const kinds = {
  unreadable: "Left out of the tree, as the account that converts can't read them",
  private: "Left out of the tree, as not everyone may read them",
  secret: "Left out of the tree, as keys or password files",
  changed: "Changed while the tree was read",
  vanished: "Gone while the tree was read",
  mount: "Left out of the tree, as they lie on other file systems",
  "site-link": "Left out of the tree, as links of etc into /local",
  "site-directory": "Empty directories now, that were links into /local",
  rewritten: "Links through CHOS, that lead there directly now",
  loop: "Left out of the tree, as links that lead to themselves without CHOS",
  dangling: "Links to nothing",
  reserved: "Left out of the tree, as names that stand for removed files in layers",
  linked: "Left out of the tree, as hard links to what is left out",
  special: "Left out of the tree, as devices, FIFOs or sockets"
} as const
type Kind = keyof typeof kinds

const isKind = (text: string): text is Kind => Object.hasOwn(kinds, text)

/** Names that a message shows. */
const SHOWN = 10

export interface Report {
  /** First names of a kind, with what a link led to. */
  readonly notes: ReadonlyMap<Kind, ReadonlyArray<string>>
  readonly counts: ReadonlyMap<Kind, number>
  readonly facts: ReadonlyMap<string, string>
}

/** How it ended. */
export type Outcome =
  | { readonly _tag: "Done"; readonly bytes: number; readonly sha256: string }
  | { readonly _tag: "Fault"; readonly code: ErrorCode; readonly what: string }

export interface Told extends Report {
  readonly outcome: Outcome | undefined
}

export const nothing: Told = { notes: new Map(), counts: new Map(), facts: new Map(), outcome: undefined }

/** How many bytes a line says that were read; undefined for any other line. */
export const progressOf = (line: string): number | undefined => {
  const [, bytes] = /^progress ([0-9]+)$/.exec(line) ?? []
  return bytes === undefined ? undefined : Number(bytes)
}

/** One line more. */
export const add = (told: Told, line: string): Told => {
  const [word = "", first = "", ...rest] = line.split(" ")
  const text = rest.join(" ")
  if (word === "note" && isKind(first)) {
    const notes = told.notes.get(first) ?? []
    return notes.length >= SHOWN ? told : { ...told, notes: new Map(told.notes).set(first, [...notes, text]) }
  }
  if (word === "count" && isKind(first)) return { ...told, counts: new Map(told.counts).set(first, Number(text)) }
  if (word === "fact") return { ...told, facts: new Map(told.facts).set(first, text) }
  if (word === "done") return { ...told, outcome: { _tag: "Done", bytes: Number(first), sha256: rest[1] ?? "" } }
  if (word === "fault") return { ...told, outcome: { _tag: "Fault", code: isErrorCode(first) ? first : "INTERNAL", what: text } }
  return told
}

/** Some names, and how many there are. */
export const some = ({ counts, notes }: Report, kind: Kind): string => {
  const names = notes.get(kind) ?? []
  const more = (counts.get(kind) ?? names.length) - names.length
  return `${names.join(", ")}${more > 0 ? `, and ${more} more` : ""}`
}

/** What is left out, changed or missing: a message a kind. */
export const warnings = (report: Report): ReadonlyArray<string> =>
  Object.entries(kinds).flatMap(([kind, what]) => {
    const count = isKind(kind) ? report.counts.get(kind) : undefined
    return count === undefined || !isKind(kind) ? [] : [`${what} (${count}): ${some(report, kind)}`]
  })

/** What the tree wants of the nodes that it is to run on. `release` is this machine's kernel. */
export const demands = ({ facts }: Report, release: string): ReadonlyArray<string> => {
  const kernel = facts.get("kernel")
  const glibc = facts.get("glibc")
  return [
    ...(kernel !== undefined && isOlder(release, kernel) ? [`The tree's C library needs Linux ${kernel}, and this machine runs ${release}`] : []),
    ...(facts.get("architecture") === "amd64" && glibc !== undefined && isOlder(glibc, "2.14")
      ? [`The tree's C library (${glibc}) calls the kernel at a fixed address: nodes that are started with vsyscall=none can't run it`]
      : [])
  ]
}

/** Whether a version is older than another, number by number. */
const isOlder = (one: string, other: string): boolean => {
  const numbers = (text: string) => text.split(/[^0-9]+/).slice(0, 3).map(Number)
  const [a, b] = [numbers(one), numbers(other)]
  for (let i = 0; i < 3; i++) if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) < (b[i] ?? 0)
  return false
}
