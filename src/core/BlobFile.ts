/**
 * A file that a blob is written to while it is hashed: in order, or in parts that arrive beside one another. Pieces are gathered, so that the
 * file system is called once for many of them, and hashed while the ones before are written. What passes in order is hashed as it passes; the
 * rest is read again, once.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"

/** Bytes gathered before they are written; as many are lost of a layer when the process is killed. */
const GATHERED = 1024 * 1024

export class BlobFile {
  private hash: Hash = createHash("sha256")
  private hashed = 0
  private following: Promise<void> = Promise.resolve()

  private constructor(
    private readonly handle: FileHandle,
    /** Bytes that were there when it was opened. */
    readonly found: number
  ) {}

  /** Opens a file, with what is in it. */
  static async open(path: string): Promise<BlobFile> {
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
    return new BlobFile(handle, (await handle.stat()).size)
  }

  /** A writer from an offset on. */
  writer(offset: number): BlobWriter {
    return new BlobWriter(this.handle, offset, (piece, at) => {
      if (at !== this.hashed) return
      this.hash.update(piece)
      this.hashed += piece.length
    })
  }

  /** Says that everything up to here is written: it is hashed by and by. */
  follow(end: number): Promise<void> {
    this.following = this.following.then(() => this.read(end))
    // Its failure is seen where the digest is asked for.
    this.following.catch(() => undefined)
    return this.following
  }

  /** Makes the file durable. The digest of its first bytes, in hex. */
  async finish(bytes: number): Promise<string> {
    await this.follow(bytes)
    await this.handle.truncate(bytes)
    await this.handle.datasync()
    return this.hash.digest("hex")
  }

  /** Forgets everything. */
  async restart(): Promise<void> {
    await this.following.catch(() => undefined)
    await this.handle.truncate(0)
    this.hash = createHash("sha256")
    this.hashed = 0
    this.following = Promise.resolve()
  }

  async close(): Promise<void> {
    await this.following.catch(() => undefined)
    await this.handle.close()
  }

  private async read(end: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(GATHERED, end - this.hashed)))
    while (this.hashed < end) {
      const { bytesRead } = await this.handle.read(buffer, 0, Math.min(buffer.length, end - this.hashed), this.hashed)
      if (bytesRead === 0) throw new Error(`it has ${this.hashed} bytes instead of ${end}`)
      this.hash.update(buffer.subarray(0, bytesRead))
      this.hashed += bytesRead
    }
  }
}

/** Writes pieces one after the other. */
export class BlobWriter {
  private pieces: Array<Uint8Array> = []
  private gathered = 0
  private writing: Promise<void> = Promise.resolve()

  constructor(
    private readonly handle: FileHandle,
    private at: number,
    private readonly passing: (piece: Uint8Array, at: number) => void
  ) {}

  /** Takes a piece; waits while the file system is behind. */
  async write(piece: Uint8Array): Promise<void> {
    this.passing(piece, this.at + this.gathered)
    this.pieces.push(piece)
    this.gathered += piece.length
    if (this.gathered < GATHERED) return
    await this.writing
    this.send()
  }

  /** Waits until everything is written. */
  async flush(): Promise<void> {
    await this.writing
    this.send()
    await this.writing
  }

  private send(): void {
    const { at, pieces } = this
    this.pieces = []
    this.at += this.gathered
    this.gathered = 0
    if (pieces.length === 0) return
    this.writing = writeAll(this.handle, pieces, at)
    // Its failure is seen where it is awaited.
    this.writing.catch(() => undefined)
  }
}

/** A full disk lets a write end early before the next one fails. */
const writeAll = async (handle: FileHandle, pieces: ReadonlyArray<Uint8Array>, at: number): Promise<void> => {
  for (let left = pieces; left.length > 0; ) {
    let { bytesWritten } = await handle.writev(left, at)
    at += bytesWritten
    let done = 0
    while (done < left.length && bytesWritten >= (left[done]?.length ?? 0)) bytesWritten -= left[done++]?.length ?? 0
    left = left.slice(done)
    if (bytesWritten > 0 && left[0] !== undefined) left = [left[0].subarray(bytesWritten), ...left.slice(1)]
  }
}
