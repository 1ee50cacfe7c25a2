/**
 * OVF: which file is the disk of the machine that an XML document describes, and the hashes that a manifest states. Both are a stranger's: no entity
 * is expanded, and a name is that of a file beside the document.
 *
 * @see https://www.dmtf.org/sites/default/files/standards/documents/DSP0243_2.1.1.pdf
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, ImageError, printable } from "../../core/Errors.js"

/** Bytes of a descriptor or a manifest that are read. */
export const documentBytes = 4 * 1024 * 1024

// Each is read in a time that grows with the text alone: what a name may hold, nothing beside it may.
const TAG = /<([A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)((?:\s+(?:[\w.-]+:)?[\w.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*\/?>/g
const ATTRIBUTE = /(?:[\w.-]+:)?([\w.-]+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/g

const refused = (name: string, what: string, remedy?: string) =>
  Either.left(new ImageError(errorFields(remedy === undefined ? "DISK_INVALID" : "DISK_UNSUPPORTED", `The OVF descriptor of ${name} ${what}`, remedy === undefined ? {} : { remedy })))

const elements = (text: string, wanted: string): ReadonlyArray<ReadonlyMap<string, string>> =>
  [...text.matchAll(TAG)].flatMap(([, , element, attributes = ""]) =>
    element !== wanted ? [] : [new Map([...attributes.matchAll(ATTRIBUTE)].map(([, key = "", double, single]) => [key, unescaped(double ?? single ?? "")] as const))]
  )

const predefined: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }
const unescaped = (text: string) => text.replace(/&([a-z]+);/g, (whole, name: string) => predefined[name] ?? whole)

/** Without comments, in one pass however many begin. Undefined where one does not end. */
const uncommented = (text: string): string | undefined => {
  const pieces: Array<string> = []
  for (let at = 0; ; ) {
    const start = text.indexOf("<!--", at)
    pieces.push(text.slice(at, start < 0 ? undefined : start))
    if (start < 0) return pieces.join("")
    const end = text.indexOf("-->", start + 4)
    if (end < 0) return undefined
    at = end + 3
  }
}

/** The name of the file of the machine's only disk, which lies beside the descriptor. */
export const diskOf = (descriptor: string, name: string): Either.Either<string, ImageError> => {
  const text = uncommented(descriptor)
  if (text === undefined) return refused(name, "has a comment without an end")
  if (/<!DOCTYPE|<!ENTITY|<!\[CDATA\[/i.test(text)) return refused(name, "declares what is not read: a DOCTYPE, an entity or CDATA")
  if (elements(text, "Envelope").length !== 1) return refused(name, "is no OVF envelope")
  if (elements(text, "VirtualSystem").length > 1) return refused(name, "describes several machines", "Give the disk of one of them.")
  const files = new Map(elements(text, "File").map((file) => [file.get("id") ?? "", file] as const))
  const disks = elements(text, "Disk").flatMap((disk) => disk.get("fileRef") ?? [])
  const [reference, ...further] = disks
  if (reference === undefined) return refused(name, "names no disk with content")
  if (further.length > 0) return refused(name, `names ${disks.length} disks`, "Take the archive apart with tar, and give the disk that the machine starts from.")
  const file = files.get(reference)
  const href = file?.get("href")
  if (file === undefined || href === undefined) return refused(name, `names no file for its disk "${printable(reference)}"`)
  const compression = file.get("compression") ?? "identity"
  // Whether it is, its content says.
  if (compression !== "identity" && compression !== "gzip") return refused(name, `says that its disk is compressed with "${printable(compression)}"`, "Unpack the disk and give it alone.")
  if (file.has("chunkSize")) return refused(name, "says that its disk is in several pieces", "Join the pieces and give the disk alone.")
  // Nothing that a document names is opened elsewhere.
  if (!/^[^/\\\0]+$/.test(href) || href === "." || href === "..") return refused(name, `names the disk "${printable(href)}", which is no file beside it`)
  return Either.right(href)
}

/** A hash that a manifest states of a file. */
export interface Stated {
  readonly algorithm: "sha1" | "sha256" | "sha512"
  readonly hex: string
}

/** What a manifest states, by the names of the files: `SHA256(disk.vmdk)= HEX`. */
export const manifestOf = (text: string, name: string): Either.Either<ReadonlyMap<string, Stated>, ImageError> => {
  const stated = new Map<string, Stated>()
  for (const line of text.split(/\r?\n/)) {
    if (line.trim() === "") continue
    const [, algorithm = "", file = "", hex = ""] = /^SHA(1|256|512)\s*\((.+)\)\s*=\s*([0-9A-Fa-f]+)\s*$/.exec(line) ?? []
    if (file === "" || stated.has(file)) return Either.left(new ImageError(errorFields("DISK_INVALID", `The manifest of ${name} is malformed at "${printable(line.slice(0, 80))}"`)))
    stated.set(file, { algorithm: `sha${algorithm}` as Stated["algorithm"], hex: hex.toLowerCase() })
  }
  return Either.right(stated)
}
