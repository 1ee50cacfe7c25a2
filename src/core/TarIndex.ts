/**
 * Where the members of a tar archive lie, so that they are read in place. Only headers are read. The archive is a stranger's: no field is
 * trusted, and a member that can't be right ends it.
 *
 * @see https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
 * @module
 */
import type { FileHandle } from "node:fs/promises"
import * as Effect from "effect/Effect"
import { type ErrorCode, errorFields, ImageError, messageOf, printable } from "./Errors.js"

/** A regular file of the archive, or another name of one. */
export type Member = { readonly _tag: "File"; readonly offset: number; readonly size: number } | { readonly _tag: "Link"; readonly target: string }

const BLOCK = 512
const MEMBERS = 200_000
const EXTENSION_BYTES = 64 * 1024

/** The members by name, without leading `./`. Directories are left out. Fails with `code`. */
export const read = (handle: FileHandle, size: number, name: string, code: ErrorCode): Effect.Effect<ReadonlyMap<string, Member>, ImageError> =>
  Effect.tryPromise({
    try: (signal) => scan(handle, size, signal),
    catch: (error) => new ImageError(errorFields(code, `The archive ${name} is not valid: ${printable(messageOf(error))}`, { cause: error }))
  })

interface Extension {
  path?: string
  linkpath?: string
  size?: number
}

const scan = async (handle: FileHandle, size: number, signal: AbortSignal): Promise<ReadonlyMap<string, Member>> => {
  const members = new Map<string, Member>()
  const block = Buffer.alloc(BLOCK)
  let extension: Extension = {}
  for (let at = 0; at + BLOCK <= size; ) {
    signal.throwIfAborted()
    await exactly(handle, block, at)
    if (block.every((byte) => byte === 0)) return members
    checksum(block, at)
    const type = String.fromCharCode(block[156] === 0 ? 0x30 : (block[156] ?? 0))
    const stated = octal(block, 124, 12, at)
    const offset = at + BLOCK
    if (type === "x" || type === "g" || type === "L" || type === "K") {
      if (stated > EXTENSION_BYTES) throw new Error(`the extended header at byte ${at} has ${stated} bytes`)
      const body = Buffer.alloc(stated)
      await exactly(handle, body, offset)
      if (type === "x") extension = { ...extension, ...records(body, at) }
      if (type === "L") extension.path = text(body, 0, stated)
      if (type === "K") extension.linkpath = text(body, 0, stated)
      at = offset + padded(stated)
      continue
    }
    const length = type === "0" || type === "7" ? (extension.size ?? stated) : 0
    if (offset + length > size) throw new Error(`the member at byte ${at} is longer than the archive`)
    const member = clean(extension.path ?? headerName(block))
    const found: Member | undefined =
      type === "0" || type === "7"
        ? { _tag: "File", offset, size: length }
        : type === "1"
          ? { _tag: "Link", target: clean(extension.linkpath ?? text(block, 157, 100)) }
          : type === "2"
            ? { _tag: "Link", target: beside(member, extension.linkpath ?? text(block, 157, 100)) }
            : undefined
    if (found === undefined && type !== "5") throw new Error(`the member "${member}" is no file, link or directory`)
    if (found !== undefined) {
      if (members.has(member)) throw new Error(`it has two members "${member}"`)
      if (members.size === MEMBERS) throw new Error(`it has more than ${MEMBERS} members`)
      members.set(member, found)
    }
    extension = {}
    at = offset + padded(length)
  }
  return members
}

const padded = (length: number) => Math.ceil(length / BLOCK) * BLOCK

const exactly = async (handle: FileHandle, into: Buffer, at: number): Promise<void> => {
  const { bytesRead } = await handle.read(into, 0, into.length, at)
  if (bytesRead !== into.length) throw new Error("it ends in the middle of a member")
}

const text = (b: Buffer, start: number, length: number): string => {
  const nul = b.indexOf(0, start)
  return b.toString("utf8", start, nul < 0 || nul > start + length ? start + length : nul)
}

const headerName = (b: Buffer): string => {
  const name = text(b, 0, 100)
  return b[345] !== 0 && b.toString("latin1", 257, 263) === "ustar\0" ? `${text(b, 345, 155)}/${name}` : name
}

const octal = (b: Buffer, start: number, length: number, at: number): number => {
  if (((b[start] ?? 0) & 0x80) !== 0) {
    const value = b.readUIntBE(start + length - 6, 6)
    if (b[start] !== 0x80 || b.subarray(start + 1, start + length - 6).some((byte) => byte !== 0)) throw new Error(`a number at byte ${at} is out of range`)
    return value
  }
  const digits = b.toString("latin1", start, start + length).split("\0")[0]?.trim() ?? ""
  if (!/^[0-7]*$/.test(digits)) throw new Error(`a field at byte ${at} is no number`)
  return digits === "" ? 0 : parseInt(digits, 8)
}

const checksum = (b: Buffer, at: number): void => {
  const stated = b.toString("latin1", 148, 156)
  let sum = 0
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : (b[i] ?? 0)
  if (!/^[ 0-7]+[\0 ]*$/.test(stated) || octal(b, 148, 8, at) !== sum) throw new Error(at === 0 ? "it is no tar archive" : `the checksum at byte ${at} is wrong`)
}

/** `LENGTH KEY=VALUE\n`, LENGTH counting itself. */
const records = (b: Buffer, at: number): Extension => {
  const found: Extension = {}
  for (let start = 0; start < b.length; ) {
    const blank = b.indexOf(0x20, start)
    const length = blank < 0 ? 0 : Number(b.toString("latin1", start, blank))
    const equals = b.indexOf(0x3d, blank)
    if (!Number.isInteger(length) || length < 5 || start + length > b.length || equals < 0 || equals >= start + length) {
      throw new Error(`the extended header at byte ${at} is malformed`)
    }
    const key = b.toString("utf8", blank + 1, equals)
    const value = b.toString("utf8", equals + 1, start + length - 1)
    if ((key === "path" || key === "linkpath" || key === "size") && found[key] !== undefined) throw new Error(`the extended header at byte ${at} says its ${key} twice`)
    if (key === "path") found.path = value
    if (key === "linkpath") found.linkpath = value
    if (key === "size") {
      if (!/^[0-9]{1,15}$/.test(value)) throw new Error(`the size in the extended header at byte ${at} is no number`)
      found.size = Number(value)
    }
    start += length
  }
  return found
}

const clean = (name: string): string => name.split("/").filter((part) => part !== "" && part !== ".").join("/")

/** The target of a symbolic link, inside the archive. */
const beside = (member: string, target: string): string => {
  const parts = target.startsWith("/") ? [] : member.split("/").slice(0, -1)
  for (const part of target.split("/")) {
    if (part === "..") {
      if (parts.pop() === undefined) throw new Error(`the link "${member}" leads out of it`)
    } else if (part !== "" && part !== ".") parts.push(part)
  }
  return parts.join("/")
}
