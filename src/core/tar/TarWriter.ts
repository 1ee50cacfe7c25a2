/**
 * Writes tar streams into large chunks. Long names use GNU's form, which holds any bytes; everything else is ustar.
 *
 * @module
 */
import type { TarType } from "./TarEntry.js"

const BLOCK = 512
const CHUNK = 256 * 1024
/** Pieces of content from this size on are not copied. */
const CHUNK_MIN = 4 * 1024
const PASSED_ON = 16 * 1024
const flags: Readonly<Record<TarType, number>> = {
  regular: 0x30,
  link: 0x31,
  symlink: 0x32,
  character: 0x33,
  block: 0x34,
  directory: 0x35,
  fifo: 0x36
}

/** What is written of an entry; names are latin1, owners are always root. */
export interface TarHeader {
  readonly name: string
  readonly type: TarType
  readonly mode: number
  readonly size: number
  readonly mtime: number
  readonly linkname: string
}

export class TarWriter {
  private chunk = Buffer.allocUnsafe(CHUNK)
  private used = 0
  private full: Array<Buffer> = []
  /** Content bytes of the entry at hand, for its padding. */
  private content = 0

  /** Writes a header; `size` bytes of content follow by {@link data}, then {@link dataEnd}. */
  header(h: TarHeader): void {
    if (h.linkname.length > 100) this.long(0x4b, h.linkname)
    if (h.name.length > 100) this.long(0x4c, h.name)
    this.block(h.name, flags[h.type], h.mode, h.size, h.mtime, h.linkname)
    this.content = 0
  }

  /** Writes content. Large pieces are passed on as they are: their memory must stay as it is. */
  data(source: Uint8Array, start: number, end: number): void {
    this.content += end - start
    if (end - start >= PASSED_ON) {
      if (this.used > 0) this.flush()
      this.full.push(Buffer.from(source.buffer, source.byteOffset + start, end - start))
      return
    }
    let at = start
    while (at < end) {
      const n = Math.min(end - at, this.chunk.length - this.used)
      this.chunk.set(at === 0 && n === source.length ? source : source.subarray(at, at + n), this.used)
      this.used += n
      at += n
      if (this.used === this.chunk.length) this.flush()
    }
  }

  dataEnd(): void {
    this.zeros((BLOCK - (this.content % BLOCK)) % BLOCK)
  }

  /** Writes the end mark. */
  end(): void {
    this.zeros(2 * BLOCK)
  }

  /** The full chunks so far; with `all`, the last, shorter one too. */
  take(all: boolean): ReadonlyArray<Buffer> {
    if (all && this.used > 0) this.flush()
    if (this.full.length === 0) return []
    const taken = this.full
    this.full = []
    return taken
  }

  private flush(): void {
    this.full.push(this.chunk.subarray(0, this.used))
    // What is left of the chunk is used on.
    this.chunk = CHUNK_MIN <= this.chunk.length - this.used ? this.chunk.subarray(this.used) : Buffer.allocUnsafe(CHUNK)
    this.used = 0
  }

  private zeros(n: number): void {
    let left = n
    while (left > 0) {
      const m = Math.min(left, this.chunk.length - this.used)
      this.chunk.fill(0, this.used, this.used + m)
      this.used += m
      left -= m
      if (this.used === this.chunk.length) this.flush()
    }
  }

  private long(flag: number, name: string): void {
    this.block("././@LongLink", flag, 0, name.length + 1, 0, "")
    this.content = 0
    this.data(Buffer.from(`${name}\0`, "latin1"), 0, name.length + 1)
    this.dataEnd()
  }

  private block(name: string, flag: number, mode: number, size: number, mtime: number, linkname: string): void {
    if (this.chunk.length - this.used < BLOCK) {
      // Headers are written in place; content chunks need not be of equal size.
      this.flush()
    }
    const b = this.chunk
    const at = this.used
    b.fill(0, at, at + BLOCK)
    b.write(name, at, 100, "latin1")
    octal(b, at + 100, 7, mode)
    octal(b, at + 108, 7, 0)
    octal(b, at + 116, 7, 0)
    octal(b, at + 124, 11, size)
    octal(b, at + 136, 11, mtime)
    b[at + 156] = flag
    b.write(linkname, at + 157, 100, "latin1")
    b.write("ustar  \0", at + 257, 8, "latin1")
    let sum = 8 * 0x20
    for (let i = at; i < at + BLOCK; i++) sum += b[i] ?? 0
    octal(b, at + 148, 6, sum)
    b[at + 155] = 0x20
    this.used += BLOCK
    if (this.used === this.chunk.length) this.flush()
  }
}

/** Writes an octal number of so many digits; larger and negative ones in base 256. */
const octal = (b: Buffer, at: number, digits: number, value: number): void => {
  if (value >= 0 && value < 8 ** digits) {
    let rest = value
    for (let i = at + digits - 1; i >= at; i--) {
      b[i] = 0x30 + (rest % 8)
      rest = Math.floor(rest / 8)
    }
    return
  }
  let rest = BigInt(value)
  for (let i = at + digits; i >= at; i--) {
    b[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  b[at] = value < 0 ? 0xff : 0x80 | ((b[at] ?? 0) & 0x7f)
}
