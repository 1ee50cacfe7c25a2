/**
 * A push parser of tar streams: ustar, GNU long names and pax. It holds one header at most, passes contents through untouched, opens no
 * file and trusts no field.
 *
 * @see https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13
 * @see https://www.gnu.org/software/tar/manual/html_node/Standard.html
 * @module
 */
import { type TarEntry, TarFault, type TarType } from "./TarEntry.js"

/** Receives a stream's entries. Throwing ends the parse. */
export interface TarHandler {
  /** A header was read. Whether the content is wanted; it follows as `data` calls. The entry object is reused. */
  readonly entry: (entry: TarEntry) => boolean
  /** A piece of a wanted content. The memory is not written again. */
  readonly data: (chunk: Uint8Array, start: number, end: number) => void
  /** The content of a wanted entry is complete. */
  readonly dataEnd: () => void
}

const BLOCK = 512
/** Extended headers (pax records, GNU long names) above this are refused. */
const EXTENSION_LIMIT = 1024 * 1024

const enum State {
  Header,
  Content,
  Extension,
  Padding,
  Trailer
}

interface Overrides {
  path?: string
  linkpath?: string
  size?: number
  mtime?: number
  uid?: number
  gid?: number
}

export class TarReader {
  private state: State = State.Header
  private readonly header = Buffer.allocUnsafe(BLOCK)
  private held = 0
  /** Bytes left of the content, extension or padding at hand. */
  private left = 0
  private padding = 0
  private wanted = false
  private extension: Buffer = Buffer.alloc(0)
  private extensionType = 0
  private extensionName = ""
  private overrides: Overrides | undefined
  private globals: Overrides | undefined
  private zeroBlocks = 0
  private readonly entry: TarEntry = { name: "", type: "regular", mode: 0, uid: 0, gid: 0, size: 0, mtime: 0, linkname: "" }

  constructor(private readonly handler: TarHandler) {}

  /** Parses the next piece of the stream. Throws {@link TarFault}. */
  push(chunk: Uint8Array): void {
    let at = 0
    const end = chunk.length
    while (at < end) {
      switch (this.state) {
        case State.Header: {
          if (this.held === 0 && end - at >= BLOCK) {
            // The common case: the header lies whole in this chunk and is read in place.
            this.block(Buffer.from(chunk.buffer, chunk.byteOffset + at, BLOCK))
            at += BLOCK
          } else {
            const n = Math.min(BLOCK - this.held, end - at)
            this.header.set(chunk.subarray(at, at + n), this.held)
            this.held += n
            at += n
            if (this.held === BLOCK) {
              this.held = 0
              this.block(this.header)
            }
          }
          break
        }
        case State.Content: {
          const n = Math.min(this.left, end - at)
          if (this.wanted) this.handler.data(chunk, at, at + n)
          this.left -= n
          at += n
          if (this.left === 0) this.contentEnd()
          break
        }
        case State.Extension: {
          const n = Math.min(this.left, end - at)
          this.extension.set(chunk.subarray(at, at + n), this.extension.length - this.left)
          this.left -= n
          at += n
          if (this.left === 0) {
            this.extended()
            this.pad()
          }
          break
        }
        case State.Padding: {
          const n = Math.min(this.padding, end - at)
          this.padding -= n
          at += n
          if (this.padding === 0) this.state = State.Header
          break
        }
        case State.Trailer:
          // What follows the end mark is no part of the archive (tar itself pads to 10 KiB records).
          return
      }
    }
  }

  /** The stream has ended. Throws {@link TarFault} when it ended inside an entry. */
  end(): void {
    const complete = this.state === State.Trailer || (this.state === State.Header && this.held === 0 && this.overrides === undefined)
    if (!complete) throw new TarFault("the archive ends in the middle of it", this.entry.name === "" ? undefined : this.entry.name)
  }

  private contentEnd(): void {
    if (this.wanted) this.handler.dataEnd()
    this.pad()
  }

  private pad(): void {
    this.state = this.padding === 0 ? State.Header : State.Padding
  }

  private block(b: Buffer): void {
    if (b[0] === 0 && isZero(b)) {
      if (++this.zeroBlocks === 2) this.state = State.Trailer
      return
    }
    if (this.zeroBlocks > 0) throw new TarFault("a header follows the end mark", undefined)
    const e = this.entry
    const pax = this.overrides
    const globals = this.globals
    const nameEnd = textEnd(b, 0, 100)
    e.name = b.toString("latin1", 0, nameEnd)
    checksum(b, e.name)
    const flag = b[156] ?? 0
    // "ustar\0" has a prefix field; GNU's "ustar  \0" uses those bytes for other things.
    if (b[345] !== 0 && b[257] === 0x75 && b[262] === 0) e.name = `${b.toString("latin1", 345, textEnd(b, 345, 155))}/${e.name}`

    const size = number(b, 124, 12, "size", e.name)
    if (flag === 0x4c || flag === 0x4b || flag === 0x78 || flag === 0x67) {
      if (size > EXTENSION_LIMIT) throw new TarFault(`its extended header has ${size} bytes, more than ${EXTENSION_LIMIT}`, e.name)
      this.extension = Buffer.alloc(size)
      this.extensionType = flag
      this.extensionName = e.name
      this.left = size
      this.padding = (BLOCK - (size % BLOCK)) % BLOCK
      this.state = State.Extension
      if (size === 0) {
        this.extended()
        this.state = State.Header
      }
      return
    }
    e.mode = number(b, 100, 8, "mode", e.name) & 0o7777
    e.mtime = number(b, 136, 12, "modification time", e.name)
    e.linkname = b[157] === 0 ? "" : b.toString("latin1", 157, textEnd(b, 157, 100))
    e.size = size
    e.uid = number(b, 108, 8, "uid", e.name)
    e.gid = number(b, 116, 8, "gid", e.name)
    if (globals !== undefined) apply(e, globals)
    if (pax !== undefined) {
      apply(e, pax)
      this.overrides = undefined
    }
    e.type = typeOf(flag, e)
    // A link may state its target's size, a directory what its writer liked: only files have content.
    if (e.type !== "regular") e.size = 0
    this.left = e.size
    this.padding = (BLOCK - (e.size % BLOCK)) % BLOCK
    this.wanted = this.handler.entry(e)
    if (this.left === 0) {
      if (this.wanted) this.handler.dataEnd()
      return
    }
    this.state = State.Content
  }

  private extended(): void {
    const overrides = (this.overrides ??= {})
    switch (this.extensionType) {
      case 0x4c:
        overrides.path = text(this.extension)
        return
      case 0x4b:
        overrides.linkpath = text(this.extension)
        return
      case 0x67:
        this.globals = { ...this.globals, ...records(this.extension, this.extensionName) }
        if (Object.keys(overrides).length === 0) this.overrides = undefined
        return
      default:
        this.overrides = { ...overrides, ...records(this.extension, this.extensionName) }
    }
  }
}

const typeOf = (flag: number, e: TarEntry): TarType => {
  switch (flag) {
    case 0x30:
    case 0:
    case 0x37:
      // Before ustar a directory was a file whose name ends with a slash.
      return e.name.endsWith("/") ? "directory" : "regular"
    case 0x31:
      return "link"
    case 0x32:
      return "symlink"
    case 0x33:
      return "character"
    case 0x34:
      return "block"
    case 0x35:
      return "directory"
    case 0x36:
      return "fifo"
    case 0x53:
      throw new TarFault("sparse files in GNU's old form are not supported", e.name)
    default:
      throw new TarFault(`its type flag 0x${flag.toString(16)} is not known`, e.name)
  }
}

const apply = (e: TarEntry, o: Overrides): void => {
  if (o.path !== undefined) e.name = o.path
  if (o.linkpath !== undefined) e.linkname = o.linkpath
  if (o.size !== undefined) e.size = o.size
  if (o.mtime !== undefined) e.mtime = o.mtime
  if (o.uid !== undefined) e.uid = o.uid
  if (o.gid !== undefined) e.gid = o.gid
}

/** Parses pax records: `LENGTH KEY=VALUE\n`, LENGTH counting itself. */
const records = (b: Buffer, name: string): Overrides => {
  const o: Overrides = {}
  let at = 0
  while (at < b.length) {
    const blank = b.indexOf(0x20, at)
    const digits = blank < 0 ? "" : b.toString("latin1", at, blank)
    const length = /^[1-9][0-9]{0,8}$/.test(digits) ? Number(digits) : 0
    const end = at + length
    const equals = b.indexOf(0x3d, blank)
    if (length === 0 || end > b.length || b[end - 1] !== 0x0a || equals < 0 || equals >= end) {
      throw new TarFault("its pax header is malformed", name)
    }
    const key = b.toString("utf8", blank + 1, equals)
    const value = b.toString("latin1", equals + 1, end - 1)
    at = end
    switch (key) {
      case "path":
        o.path = noNul(value, key, name)
        break
      case "linkpath":
        o.linkpath = noNul(value, key, name)
        break
      case "size":
        o.size = decimal(value, key, name)
        break
      case "uid":
        o.uid = decimal(value, key, name)
        break
      case "gid":
        o.gid = decimal(value, key, name)
        break
      case "mtime":
        if (!/^-?[0-9]{1,15}(\.[0-9]*)?$/.test(value)) throw new TarFault("its pax modification time is malformed", name)
        o.mtime = Math.floor(Number(value))
        break
      default:
        if (key.startsWith("GNU.sparse.")) throw new TarFault("sparse files are not supported", name)
    }
  }
  return o
}

const noNul = (value: string, key: string, name: string): string => {
  if (value.length === 0 || value.includes("\0")) throw new TarFault(`its pax ${key} is empty or holds NUL`, name)
  return value
}

const decimal = (value: string, key: string, name: string): number => {
  if (!/^[0-9]{1,15}$/.test(value)) throw new TarFault(`its pax ${key} is not a number in range`, name)
  return Number(value)
}

/** The text of a GNU long name: up to its first NUL. */
const text = (b: Buffer): string => {
  const nul = b.indexOf(0)
  return b.toString("latin1", 0, nul < 0 ? b.length : nul)
}

const textEnd = (b: Buffer, start: number, length: number): number => {
  const end = start + length
  let at = start
  while (at < end && b[at] !== 0) at++
  return at
}

/** An octal or base-256 number, not negative (but for times, which may be) and exact. */
const number = (b: Buffer, start: number, length: number, what: string, name: string): number => {
  const first = b[start] ?? 0
  if ((first & 0x80) !== 0) return base256(b, start, length, what, name)
  let value = 0
  let at = start
  const end = start + length
  while (at < end && b[at] === 0x20) at++
  for (; at < end; at++) {
    const c = b[at] ?? 0
    if (c === 0 || c === 0x20) break
    if (c < 0x30 || c > 0x37) throw new TarFault(`its ${what} is not a number`, name)
    value = value * 8 + (c - 0x30)
  }
  return value
}

const base256 = (b: Buffer, start: number, length: number, what: string, name: string): number => {
  const first = b[start] ?? 0
  const negative = first === 0xff
  if (negative && what !== "modification time") throw new TarFault(`its ${what} is negative`, name)
  let value = negative ? -1n : BigInt(first & 0x7f)
  for (let i = 1; i < length; i++) value = value * 256n + BigInt(b[start + i] ?? 0)
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) throw new TarFault(`its ${what} is out of range`, name)
  return Number(value)
}

/** The sum of the header's bytes, its own field counted as blanks. Old writers summed signed bytes. */
const checksum = (b: Buffer, name: string): void => {
  let sum = 0
  for (let i = 0; i < BLOCK; i++) sum += b[i] ?? 0
  for (let i = 148; i < 156; i++) sum += 0x20 - (b[i] ?? 0)
  const stated = number(b, 148, 8, "checksum", name)
  if (stated === sum) return
  let signed = 0
  for (let i = 0; i < BLOCK; i++) signed += i >= 148 && i < 156 ? 0x20 : b.readInt8(i)
  if (stated !== signed) throw new TarFault("its header checksum is wrong", name)
}

const isZero = (b: Buffer): boolean => {
  for (let i = 0; i < BLOCK; i++) if (b[i] !== 0) return false
  return true
}
