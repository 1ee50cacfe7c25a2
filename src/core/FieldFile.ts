/**
 * Field files: the form of records and names. A value is preceded by its length, so that it can hold any byte and be mistaken for nothing.
 * The grammar is in `formats/README.md`.
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, FormatError } from "./Errors.js"
import { formatLimits } from "./Limits.js"

/** What may stand in a field file of one kind. */
export interface FieldFileKind {
  /** The word that the file starts with. */
  readonly magic: string
  /** The newest version understood, and the one written. */
  readonly version: number
  /** Largest size in bytes. */
  readonly limit: number
  /** The keys, in the order they are written. */
  readonly keys: Readonly<Record<string, "required" | "optional" | "repeated">>
}

/** Fields in order: key and value. */
export type Fields = ReadonlyArray<readonly [string, string]>

const lone = /([\udc80-\udcff])/u

/**
 * Bytes as text. A byte that is not part of well-formed UTF-8 becomes the lone surrogate U+DC00 + byte, so that every value survives; C
 * (`shifter-check`) shows such bytes in the same way.
 */
export const textOf = (bytes: Uint8Array): string => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  const decoded = (from: number, to: number): string | undefined => {
    try {
      return decoder.decode(bytes.subarray(from, to))
    } catch {
      return undefined
    }
  }
  const whole = decoded(0, bytes.length)
  if (whole !== undefined) return whole
  let text = ""
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at] ?? 0
    const size = byte < 0x80 ? 1 : byte >> 5 === 6 ? 2 : byte >> 4 === 14 ? 3 : byte >> 3 === 30 ? 4 : 0
    const sequence = size === 0 || at + size > bytes.length ? undefined : decoded(at, at + size)
    text += sequence ?? String.fromCharCode(0xdc00 + byte)
    at += sequence === undefined ? 1 : size
  }
  return text
}

/** The bytes of a text, those included that {@link textOf} made lone surrogates of. */
export const bytesOf = (text: string): Buffer =>
  lone.test(text)
    ? Buffer.concat(text.split(lone).map((part) => (lone.test(part) ? Buffer.from([part.charCodeAt(0) - 0xdc00]) : Buffer.from(part))))
    : Buffer.from(text)

/** Writes a field file. Values are written as {@link bytesOf} says. */
export const encode = (kind: FieldFileKind, fields: Fields): Buffer => {
  const order = Object.keys(kind.keys)
  const sorted = [...fields].sort((a, b) => order.indexOf(a[0]) - order.indexOf(b[0]))
  const parts = sorted.flatMap(([key, value]) => {
    const bytes = bytesOf(value)
    return [Buffer.from(`${key} ${bytes.length}:`), bytes, Buffer.from("\n")]
  })
  return Buffer.concat([Buffer.from(`${kind.magic} ${kind.version}\n`), ...parts, Buffer.from("end\n")])
}

/** Reads a field file: values by key, in the order of the file. */
export const decode = (kind: FieldFileKind, bytes: Uint8Array): Either.Either<ReadonlyMap<string, ReadonlyArray<string>>, FormatError> => {
  const invalid = (why: string) => Either.left(new FormatError(errorFields("RECORD_INVALID", `This ${kind.magic} file is not valid: ${why}`)))
  if (bytes.length > kind.limit) return invalid(`it is larger than ${kind.limit} bytes`)
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const lineEnd = buffer.subarray(0, 80).indexOf(10)
  const first = buffer.subarray(0, Math.max(lineEnd, 0)).toString("latin1")
  const header = /^([a-z][a-z-]*) ([1-9][0-9]{0,8})$/.exec(first)
  if (header === null || header[1] !== kind.magic) return invalid(`it does not start with "${kind.magic}" and a version`)
  if (Number(header[2]) > kind.version) {
    return Either.left(
      new FormatError(errorFields("RECORD_NEWER", `This ${kind.magic} file has version ${header[2]}; up to ${kind.version} is understood`))
    )
  }
  const found = new Map<string, Array<string>>()
  let at = lineEnd + 1
  let count = 0
  for (;;) {
    if (buffer.length - at === 4 && buffer.toString("latin1", at) === "end\n") break
    if (++count > formatLimits.fieldCount) return invalid(`it has more than ${formatLimits.fieldCount} fields`)
    const colon = buffer.subarray(at, at + 80).indexOf(58)
    const head = colon < 0 ? null : /^([a-z][a-z0-9-]*) (0|[1-9][0-9]{0,8})$/.exec(buffer.toString("latin1", at, at + colon))
    if (head === null) return invalid(`a field or "end" was expected at byte ${at}`)
    const key = head[1] ?? ""
    const start = at + colon + 1
    const end = start + Number(head[2])
    if (end >= buffer.length || buffer[end] !== 10) return invalid(`the length of "${key}" is wrong`)
    const rule = Object.hasOwn(kind.keys, key) ? kind.keys[key] : undefined
    if (rule === undefined) return invalid(`the key "${key}" is not known`)
    const values = found.get(key) ?? []
    if (rule !== "repeated" && values.length > 0) return invalid(`the key "${key}" stands twice`)
    values.push(textOf(buffer.subarray(start, end)))
    found.set(key, values)
    at = end + 1
  }
  for (const [key, rule] of Object.entries(kind.keys)) {
    if (rule === "required" && !found.has(key)) return invalid(`the key "${key}" is missing`)
  }
  return Either.right(found)
}
