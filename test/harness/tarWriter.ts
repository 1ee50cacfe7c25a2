/**
 * A small tar writer for tests: it writes the forms real builders write (ustar, GNU long names, pax), names of any bytes, and,
 * through raw items and {@link tarHeader}, archives no honest builder would.
 *
 * It shares no code with the reader under test, so that a misunderstanding can't cancel itself out.
 *
 * @module
 */

export type TarType = 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo'
export type TarFormat = 'ustar' | 'gnu' | 'pax'

export interface TarEntry {
  /** Path as written into the archive; bytes when it is not UTF-8. Directories get their trailing slash. */
  readonly name: string | Buffer
  readonly type: TarType
  readonly mode?: number | undefined
  readonly mtime?: number | undefined
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly data?: string | Buffer | undefined
  readonly linkname?: string | Buffer | undefined
  /** Written as `SCHILY.xattr.*` records; needs pax. */
  readonly xattrs?: Readonly<Record<string, string | Buffer>> | undefined
  /** Further pax records, written as given; needs pax. */
  readonly pax?: Readonly<Record<string, string | Buffer>> | undefined
  readonly device?: { readonly major: number; readonly minor: number } | undefined
  /** A file's blocks of zeros left out, in one of pax's ways. */
  readonly sparse?: '0.1' | '1.0' | undefined
  /** `ustar` where it fits and `pax` otherwise, unless told. */
  readonly format?: TarFormat | undefined
}

/** Bytes put into the archive as they are, for attacks and damaged archives. */
export interface RawItem {
  readonly raw: Buffer
}

export type TarItem = TarEntry | RawItem

const BLOCK = 512
const TYPE_FLAGS: Readonly<Record<TarType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
}

const bytes = (text: string | Buffer): Buffer => (typeof text === 'string' ? Buffer.from(text) : text)

/** The fields of one 512-byte header, unchecked. */
export interface TarHeaderFields {
  readonly name: Buffer
  readonly typeflag: string
  readonly prefix?: Buffer | undefined
  readonly linkname?: Buffer | undefined
  readonly mode?: number | undefined
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly size?: number | undefined
  readonly mtime?: number | undefined
  readonly device?: { readonly major: number; readonly minor: number } | undefined
  readonly gnu?: boolean | undefined
}

const writeNumber = (header: Buffer, at: number, length: number, value: number): void => {
  if (value < 0 || value >= 8 ** (length - 1)) {
    // GNU's base-256: the top bit says so, the rest is a big-endian two's complement number.
    header[at] = value < 0 ? 0xff : 0x80
    let rest = BigInt(Math.trunc(value))
    for (let i = length - 1; i > 0; i--) {
      header[at + i] = Number(rest & 0xffn)
      rest >>= 8n
    }
    return
  }
  header.write(`${Math.trunc(value).toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
}

/** One header block with a right checksum. Over-long fields are cut, as the long forms expect. */
export const tarHeader = (fields: TarHeaderFields): Buffer => {
  const header = Buffer.alloc(BLOCK)
  fields.name.copy(header, 0, 0, 100)
  writeNumber(header, 100, 8, fields.mode ?? 0)
  writeNumber(header, 108, 8, fields.uid ?? 0)
  writeNumber(header, 116, 8, fields.gid ?? 0)
  writeNumber(header, 124, 12, fields.size ?? 0)
  writeNumber(header, 136, 12, fields.mtime ?? 0)
  header.write(fields.typeflag, 156, 'latin1')
  fields.linkname?.copy(header, 157, 0, 100)
  header.write(fields.gnu === true ? 'ustar  \0' : 'ustar\u000000', 257, 'latin1')
  if (fields.device !== undefined) {
    writeNumber(header, 329, 8, fields.device.major)
    writeNumber(header, 337, 8, fields.device.minor)
  }
  fields.prefix?.copy(header, 345, 0, 155)
  return withChecksum(header)
}

/** Recompute the checksum of a header block that was changed by hand. */
export const withChecksum = (header: Buffer): Buffer => {
  header.fill(0x20, 148, 156)
  let sum = 0
  for (const byte of header.subarray(0, BLOCK)) sum += byte
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

/** Data followed by the zeros that fill its last block. */
export const padded = (data: Buffer): Buffer => {
  const rest = data.length % BLOCK
  return rest === 0 ? data : Buffer.concat([data, Buffer.alloc(BLOCK - rest)])
}

/** One pax record: its length counts itself. */
export const paxRecord = (key: string, value: string | Buffer): Buffer => {
  const body = Buffer.concat([Buffer.from(` ${key}=`), bytes(value), Buffer.from('\n')])
  let length = body.length + 1
  while (String(length).length + body.length !== length) length = String(length).length + body.length
  return Buffer.concat([Buffer.from(String(length)), body])
}

/** A pax extended header (`x`, or `g` for the whole archive) with these records. */
export const paxHeader = (records: Readonly<Record<string, string | Buffer>>, typeflag: 'x' | 'g' = 'x'): Buffer => {
  const data = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)))
  return Buffer.concat([
    tarHeader({ name: Buffer.from('PaxHeaders/0'), typeflag, mode: 0o644, size: data.length }),
    padded(data),
  ])
}

const gnuLong = (typeflag: 'L' | 'K', name: Buffer): Buffer => {
  const data = Buffer.concat([name, Buffer.alloc(1)])
  return Buffer.concat([
    tarHeader({ name: Buffer.from('././@LongLink'), typeflag, mode: 0o644, size: data.length, gnu: true }),
    padded(data),
  ])
}

/** Where ustar may cut a long name into prefix and name; `undefined` when it can't. */
const ustarSplit = (name: Buffer): { readonly prefix: Buffer; readonly name: Buffer } | undefined => {
  if (name.length <= 100) return { prefix: Buffer.alloc(0), name }
  for (let at = Math.min(155, name.length - 2); at > 0; at--) {
    // The name may hold 100 bytes; a slash at the very end (a directory's) stays with it.
    if (name[at] === 0x2f && name.length - at - 1 <= 100) {
      return { prefix: name.subarray(0, at), name: name.subarray(at + 1) }
    }
  }
  return undefined
}

/** Where a file's blocks hold something, and what; with an empty extent at its end, as GNU tar writes it. */
const extentsOf = (data: Buffer): { readonly extents: readonly (readonly [offset: number, length: number])[]; readonly stored: Buffer } => {
  const extents: [number, number][] = []
  for (let at = 0; at < data.length; at += BLOCK) {
    const length = Math.min(BLOCK, data.length - at)
    if (data.subarray(at, at + length).every((byte) => byte === 0)) continue
    const last = extents.at(-1)
    if (last !== undefined && last[0] + last[1] === at) last[1] += length
    else extents.push([at, length])
  }
  const stored = Buffer.concat(extents.map(([offset, length]) => data.subarray(offset, offset + length)))
  return { extents: [...extents, [data.length, 0]], stored }
}

const sparseBytes = (form: '0.1' | '1.0', fields: Omit<TarHeaderFields, 'name'>, name: Buffer, data: Buffer, records: Readonly<Record<string, string | Buffer>>): Buffer => {
  const { extents, stored } = extentsOf(data)
  const size = String(data.length)
  if (form === '0.1') {
    const map = extents.flat().join(',')
    const more = { ...records, 'GNU.sparse.size': size, 'GNU.sparse.numblocks': String(extents.length), 'GNU.sparse.name': name, 'GNU.sparse.map': map }
    return Buffer.concat([paxHeader(more), tarHeader({ ...fields, name: Buffer.from('GNUSparseFile.0/x'), size: stored.length }), padded(stored)])
  }
  const content = Buffer.concat([padded(Buffer.from([extents.length, ...extents.flat()].map((n) => `${n}\n`).join(''))), stored])
  const more = { ...records, 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': name, 'GNU.sparse.realsize': size }
  return Buffer.concat([paxHeader(more), tarHeader({ ...fields, name: Buffer.from('GNUSparseFile.0/x'), size: content.length }), padded(content)])
}

const isRaw = (item: TarItem): item is RawItem => 'raw' in item

const entryBytes = (entry: TarEntry): Buffer => {
  let name = bytes(entry.name)
  if (entry.type === 'dir' && name[name.length - 1] !== 0x2f) name = Buffer.concat([name, Buffer.from('/')])
  const linkname = bytes(entry.linkname ?? '')
  const data = entry.type === 'file' ? bytes(entry.data ?? '') : Buffer.alloc(0)
  const mtime = entry.mtime ?? 0
  const fields = {
    typeflag: TYPE_FLAGS[entry.type],
    linkname,
    mode: entry.mode ?? (entry.type === 'dir' ? 0o755 : entry.type === 'symlink' ? 0o777 : 0o644),
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    size: data.length,
    mtime: Math.floor(mtime),
    device: entry.device,
  }
  const split = ustarSplit(name)
  const needsPax = entry.xattrs !== undefined || entry.pax !== undefined || !Number.isInteger(mtime)
  const fitsUstar = split !== undefined && linkname.length <= 100 && !needsPax
  const format = entry.format ?? (fitsUstar ? 'ustar' : 'pax')

  const attributes = Object.fromEntries(Object.entries(entry.xattrs ?? {}).map(([key, value]) => [`SCHILY.xattr.${key}`, value]))
  if (entry.sparse !== undefined) return sparseBytes(entry.sparse, fields, name, data, attributes)

  switch (format) {
    case 'ustar': {
      if (split === undefined || !fitsUstar) throw new Error(`does not fit ustar: ${name.toString('latin1')}`)
      return Buffer.concat([tarHeader({ ...fields, ...split }), padded(data)])
    }
    case 'gnu': {
      if (needsPax) throw new Error(`needs pax: ${name.toString('latin1')}`)
      return Buffer.concat([
        linkname.length > 100 ? gnuLong('K', linkname) : Buffer.alloc(0),
        name.length > 100 ? gnuLong('L', name) : Buffer.alloc(0),
        tarHeader({ ...fields, name, gnu: true }),
        padded(data),
      ])
    }
    case 'pax': {
      // Path and target are always stated, so that short names take this way too; builders do the same for odd bytes.
      const records: Record<string, string | Buffer> = { path: name }
      if (linkname.length > 0) records['linkpath'] = linkname
      if (!Number.isInteger(mtime)) records['mtime'] = String(mtime)
      Object.assign(records, attributes, entry.pax)
      // What the plain header says is what a reader without pax would see; a careful one must not use it.
      return Buffer.concat([
        paxHeader(records),
        tarHeader({ ...fields, name: Buffer.from('pax-entry'), linkname: Buffer.alloc(0) }),
        padded(data),
      ])
    }
  }
}

/** The bytes of an archive, with its two closing blocks unless `end` is false. */
export const tarBytes = (items: readonly TarItem[], options: { readonly end?: boolean } = {}): Buffer =>
  Buffer.concat([
    ...items.map((item) => (isRaw(item) ? item.raw : entryBytes(item))),
    options.end === false ? Buffer.alloc(0) : Buffer.alloc(2 * BLOCK),
  ])
