/**
 * `.meta` files: the reference system's description of an image, which its own runtime reads. The grammar is in `formats/README.md`.
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, FormatError } from "./Errors.js"
import { bytesOf, textOf } from "./FieldFile.js"
import type { Access, ImageMetadata } from "./ImageRecord.js"
import { formatLimits } from "./Limits.js"

/** What a `.meta` file says. */
export interface Meta {
  readonly format: "squashfs"
  readonly entrypoint: ReadonlyArray<string> | null
  readonly command: ReadonlyArray<string> | null
  readonly workdir: string | null
  readonly userAcl: ReadonlyArray<number>
  readonly groupAcl: ReadonlyArray<number>
  readonly env: ReadonlyArray<string>
}

/** The text of a `.meta` file, and what its grammar can't say faithfully. */
export interface EncodedMeta {
  readonly text: string
  /** One sentence for each thing left out. */
  readonly omitted: ReadonlyArray<string>
}

/** Writes a `.meta` file, leaving out what the reference's parser would misread. */
export const encode = (metadata: ImageMetadata, access: Access): EncodedMeta => {
  const omitted: Array<string> = []
  const lines = ["FORMAT: squashfs"]
  // A lone surrogate stands for a byte that is not UTF-8; such a text can't be written as text.
  const isSingleLine = (text: string) => !/[\n\r]|\p{Surrogate}/u.test(text)
  const list = (key: string, what: string, words: ReadonlyArray<string>) => {
    if (words.length === 0) return
    if (words.every((word) => isSingleLine(word) && !/['\\]/.test(word))) lines.push(`${key}: [${words.map((word) => `'${word}'`).join(", ")}]`)
    else omitted.push(`the ${what} (it holds a quote, a backslash, a line break or a byte that is not UTF-8)`)
  }
  list("ENTRY", "entry point", metadata.entrypoint)
  list("CMD", "command", metadata.command)
  if (metadata.workdir !== undefined) {
    if (isSingleLine(metadata.workdir)) lines.push(`WORKDIR: ${metadata.workdir}`)
    else omitted.push("the working directory (it holds a line break or a byte that is not UTF-8)")
  }
  if (access.access === "private") {
    // The reference takes two empty lists for public: the owner is always listed.
    lines.push(`USERACL: ${[...new Set([access.owner, ...access.allowUids])].join(",")}`, `GROUPACL: ${access.allowGids.join(",")}`)
  }
  for (const entry of metadata.env) {
    if (isSingleLine(entry) && !entry.endsWith("=")) lines.push(`ENV: ${entry}`)
    else omitted.push(`the variable ${entry.slice(0, entry.indexOf("="))} (${entry.endsWith("=") ? "it is empty" : "it holds a line break or a byte that is not UTF-8"})`)
  }
  return { text: `${lines.join("\n")}\n`, omitted }
}

/** Reads a `.meta` file. Fails with `RECORD_INVALID`. */
export const decode = (bytes: Uint8Array): Either.Either<Meta, FormatError> => {
  const invalid = (why: string) => Either.left(new FormatError(errorFields("RECORD_INVALID", `This .meta file is not valid: ${why}`)))
  if (bytes.length > formatLimits.metaBytes) return invalid(`it is larger than ${formatLimits.metaBytes} bytes`)
  const text = textOf(bytes)
  if (text.includes("\0")) return invalid("it holds NUL")
  const single = new Map<string, string>()
  const env: Array<string> = []
  let lines = 0
  for (const line of text.split("\n")) {
    if (/^[ \t]*$/.test(line)) continue
    if (++lines > formatLimits.fieldCount) return invalid(`it has more than ${formatLimits.fieldCount} lines`)
    const match = /^([A-Z]+):(?: (.*)|)$/s.exec(line)
    const key = match?.[1] ?? ""
    const value = match?.[2] ?? ""
    if (key === "ENV") {
      if (!/^[^=]+=/.test(value) || bytesOf(value).length > formatLimits.envBytes) return invalid("an ENV line is not NAME=VALUE, or too long")
      env.push(value)
    } else if (key === "VOLUME") {
      continue
    } else if (["FORMAT", "ENTRY", "CMD", "WORKDIR", "USERACL", "GROUPACL", "USER"].includes(key)) {
      if (single.has(key)) return invalid(`${key} stands twice`)
      single.set(key, value)
    } else {
      return invalid(`the line "${line.slice(0, 60)}" has no key that is known`)
    }
  }
  if (single.get("FORMAT") !== "squashfs") return invalid("FORMAT is not squashfs")
  const entrypoint = words(single.get("ENTRY"))
  const command = words(single.get("CMD"))
  const userAcl = acl(single.get("USERACL"))
  const groupAcl = acl(single.get("GROUPACL"))
  if (entrypoint === undefined || command === undefined) return invalid("ENTRY or CMD is a malformed list")
  if (userAcl === undefined || groupAcl === undefined) return invalid("an access list is malformed or too long")
  const workdir = single.get("WORKDIR") ?? ""
  if (workdir !== "" && !workdir.startsWith("/")) return invalid("WORKDIR is not an absolute path")
  return Either.right({ format: "squashfs", entrypoint, command, workdir: workdir === "" ? null : workdir, userAcl, groupAcl, env })
}

const escapes: Readonly<Record<string, string>> = { "\\": "\\", "'": "'", '"': '"', n: "\n", r: "\r", t: "\t" }

const separator = /[ \t]*(?:,[ \t]*|\])/y

/** The words of ENTRY or CMD; undefined when the list is malformed. */
const words = (text: string | undefined): ReadonlyArray<string> | null | undefined => {
  if (text === undefined) return null
  if (!/^\[(u?['"]|\])/.test(text)) return [text]
  const found: Array<Buffer> = []
  let at = 1
  if (text === "[]") return []
  for (;;) {
    if (text[at] === "u") at++
    const quote = text[at]
    if (quote !== "'" && quote !== '"') return undefined
    at++
    const parts: Array<Buffer> = []
    for (;;) {
      const c = text[at]
      if (c === undefined) return undefined
      at++
      if (c === quote) break
      if (c !== "\\") {
        // A code point may take two UTF-16 units; both are copied as they come.
        const point = String.fromCodePoint(text.codePointAt(at - 1) ?? 0)
        parts.push(bytesOf(point))
        at += point.length - 1
        continue
      }
      const e = text[at] ?? ""
      at++
      const simple = Object.hasOwn(escapes, e) ? escapes[e] : undefined
      if (simple !== undefined) {
        parts.push(Buffer.from(simple))
        continue
      }
      const length = e === "x" ? 2 : e === "u" ? 4 : 0
      const digits = text.slice(at, at + length)
      if (length === 0 || digits.length !== length || !/^[0-9a-fA-F]+$/.test(digits)) return undefined
      at += digits.length
      const value = parseInt(digits, 16)
      if (value === 0 || (value >= 0xd800 && value <= 0xdfff)) return undefined
      parts.push(e === "x" ? Buffer.from([value]) : Buffer.from(String.fromCodePoint(value)))
    }
    found.push(Buffer.concat(parts))
    if (found.length > formatLimits.fieldCount) return undefined
    separator.lastIndex = at
    const rest = separator.exec(text)
    if (rest === null) return undefined
    at += rest[0].length
    if (rest[0].endsWith("]")) {
      if (at !== text.length) return undefined
      break
    }
  }
  return found.map(textOf)
}

/** The numbers of an access list; undefined when it is malformed. */
const acl = (text: string | undefined): ReadonlyArray<number> | undefined => {
  const given = text ?? ""
  const elements = given.split(",").map((element) => element.replace(/^[ \t]+|[ \t]+$/g, "")).filter((element) => element !== "")
  // A list that was meant to name someone must not turn into "public".
  if (elements.length === 0 && given.includes(",")) return undefined
  if (elements.length > formatLimits.aclIds || elements.some((element) => !/^[0-9]+$/.test(element) || Number(element) > 4294967294)) return undefined
  return elements.map(Number)
}
