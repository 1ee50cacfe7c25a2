/**
 * Images for measurements, made by recipe: the same machine makes the same bytes every time.
 *
 * @module
 */
import { spawn } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, mkdirSync, openSync, readdirSync, readFileSync, readSync, closeSync, renameSync, lstatSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Readable, Transform } from 'node:stream'
import { createRequire } from 'node:module'

const MiB = 1 << 20

/** Small and fast, and the same everywhere. */
const random = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

/** Real machine code, as images are full of: Node itself and the largest shared libraries. */
const binaryPool = () => {
  const libraries = []
  const visit = (dir) => {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name)
      if (entry.isDirectory() && dir.split('/').length < 5) visit(path)
      else if (entry.isFile() && entry.name.includes('.so')) libraries.push({ path, size: lstatSync(path).size })
    }
  }
  visit('/usr/lib')
  libraries.sort((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1))
  const parts = []
  let room = 192 * MiB
  for (const path of [process.execPath, ...libraries.map((library) => library.path)]) {
    if (room <= 0) break
    const data = Buffer.alloc(Math.min(room, lstatSync(path).size))
    const file = openSync(path)
    readSync(file, data)
    closeSync(file)
    parts.push(data)
    room -= data.length
  }
  return Buffer.concat(parts)
}

/** Source text, as the trees of many small files are full of. */
const textPool = () => readFileSync(createRequire(import.meta.url).resolve('typescript/lib/typescript.js'))

/** Slices that start anywhere, so that no two files or blocks are equal and the packer can't drop one. */
const slicer = (pool, next) => (size) => {
  const parts = []
  for (let left = size; left > 0; ) {
    const from = Math.floor(next() * (pool.length - 1))
    const part = pool.subarray(from, Math.min(pool.length, from + left))
    parts.push(part)
    left -= part.length
  }
  return Buffer.concat(parts)
}

const header = (name, type, size, mode) => {
  const block = Buffer.alloc(512)
  block.write(name, 0, 100)
  const octal = (value, at, length) => block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(1_600_000_000, 136, 12)
  block.write(`        ${type}`, 148, 'latin1')
  block.write('ustar\u000000', 257, 'latin1')
  octal(block.reduce((sum, byte) => sum + byte, 0), 148, 7)
  return block
}
export const directory = (name) => header(`${name}/`, '5', 0, 0o755)
export const file = (name, data, mode = 0o644) => [header(name, '0', data.length, mode), data, Buffer.alloc((512 - (data.length % 512)) % 512)]

/** Data that is compressed already: models, archives, pictures. */
const noisePool = () => {
  const key = Buffer.alloc(32, 7)
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(64 * MiB))
}

/**
 * A few large layers: libraries of 64 KiB to 24 MiB, every 24th file compressed already. Squashfs makes the whole about a third, as it makes
 * of an image with scientific Python.
 */
function* largeLayer(index, size, pools) {
  const code = slicer(pools.code, random(1000 + index))
  const noise = slicer(pools.noise, random(5000 + index))
  const next = random(2000 + index)
  yield directory('opt')
  yield directory(`opt/l${index}`)
  for (let left = size, n = 0; left > 0; n++) {
    const length = Math.min(left, Math.floor(65536 * 2 ** (next() * 8.5)))
    yield* file(`opt/l${index}/lib${n}.so`, n % 24 === 3 ? noise(length) : code(length), 0o755)
    left -= length
  }
  yield Buffer.alloc(1024)
}

const SMALL_LAYERS = 5
const SMALL_FILES = 60_000
const PER_DIRECTORY = 50

/** Many small files; upper layers replace some, white some out, and make some directories opaque. */
function* smallLayer(index, pool) {
  const slice = slicer(pool, random(3000 + index))
  const next = random(4000 + index)
  // 2.4 KiB compressed on average, as in the package trees that reach supercomputers.
  const size = () => Math.floor(next() ** 2 * 24_000)
  const nameOf = (layer, n) => `srv/l${layer}/d${Math.floor(n / PER_DIRECTORY)}/f${n}.js`
  const perLayer = SMALL_FILES / SMALL_LAYERS
  yield directory('srv')
  for (let lower = 0; lower < index; lower++) {
    // One file in twenty goes, one in forty is replaced, and a few directories start afresh.
    for (let n = index; n < perLayer; n += 20 * SMALL_LAYERS) {
      yield* file(nameOf(lower, n).replace(/([^/]*)$/, '.wh.$1'), Buffer.alloc(0), 0)
    }
    for (let n = 7 + index; n < perLayer; n += 40 * SMALL_LAYERS) yield* file(nameOf(lower, n), slice(size()))
    const fresh = `srv/l${lower}/d${200 + index * 3}`
    yield directory(fresh)
    yield* file(`${fresh}/.wh..wh..opq`, Buffer.alloc(0), 0)
    yield* file(`${fresh}/fresh-${index}.js`, slice(size()))
  }
  yield directory(`srv/l${index}`)
  for (let n = 0; n < perLayer; n++) {
    if (n % PER_DIRECTORY === 0) yield directory(`srv/l${index}/d${n / PER_DIRECTORY}`)
    yield* file(nameOf(index, n), slice(size()))
  }
  yield Buffer.alloc(1024)
}

/** A layer of a stack: so many files of a kilobyte, in a directory of its own. */
function* stackLayer(index, files, pool) {
  const slice = slicer(pool, random(7000 + index))
  yield directory(`s${index}`)
  for (let n = 0; n < files; n++) {
    if (n % 1000 === 0) yield directory(`s${index}/d${n / 1000}`)
    yield* file(`s${index}/d${Math.floor(n / 1000)}/f${n}`, slice(1024))
  }
  yield Buffer.alloc(1024)
}
const stack = (layers, files) => () => {
  const pool = textPool()
  return Array.from({ length: layers }, (_, i) => () => stackLayer(i, files, pool))
}

/** What can be measured: name to layers, oldest first. */
export const RECIPES = {
  /** Four large layers, 1485 MB: as large as a scientific Python image. */
  large: () => {
    const pools = { code: binaryPool(), noise: noisePool() }
    return [85, 300, 400, 700].map((size, i) => () => largeLayer(i, size * 1e6, pools))
  },
  /** 60,000 small files in five layers. */
  small: () => {
    const pool = textPool()
    return Array.from({ length: SMALL_LAYERS }, (_, i) => () => smallLayer(i, pool))
  },
  /** One layer of 1 GB. */
  single: () => {
    const pools = { code: binaryPool(), noise: noisePool() }
    return [() => largeLayer(20, 1e9, pools)]
  },
  /** Layers of 100 files, and 200,000 to a million entries in four layers: what a layer and an entry cost is a straight line. */
  layers1: stack(1, 100),
  layers40: stack(40, 100),
  layers200: stack(200, 100),
  entries200k: stack(4, 50_000),
  entries500k: stack(4, 125_000),
  entries1m: stack(4, 250_000),
  /** 2 GB, for the memory of a pull. */
  huge: () => {
    const pools = { code: binaryPool(), noise: noisePool() }
    return [400, 500, 500, 600].map((size, i) => () => largeLayer(10 + i, size * 1e6, pools))
  },
}

/** Passes bytes on, hashed and counted. */
const meter = () => {
  const hash = createHash('sha256')
  const stream = new Transform({
    transform(chunk, _encoding, done) {
      hash.update(chunk)
      stream.bytes += chunk.length
      done(undefined, chunk)
    },
  })
  stream.bytes = 0
  stream.digest = () => `sha256:${hash.digest('hex')}`
  return stream
}

/** Many headers and small files a chunk: one pass through the streams for each would take longer than the compressor. */
function* gathered(parts) {
  let list = []
  let bytes = 0
  for (const part of parts) {
    list.push(part)
    bytes += part.length
    if (bytes < MiB) continue
    yield Buffer.concat(list)
    list = []
    bytes = 0
  }
  if (bytes > 0) yield Buffer.concat(list)
}

/** Write an image as an OCI layout under the tag `latest`. Gives the compressed layers' digests and sizes, oldest first. */
export const makeImage = async (name, dir) => {
  const recipe = RECIPES[name]
  if (recipe === undefined) throw new Error(`no image ${name}; there are ${Object.keys(RECIPES).join(', ')}`)
  return writeImage(recipe(), dir)
}

/** {@link makeImage} of layers that are given as functions. */
export const writeImage = async (recipe, dir) => {
  const blobs = join(dir, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const layers = []
  for (const parts of recipe) {
    // -n and a fixed number of threads: the same bytes whatever the machine.
    const gzip = spawn('pigz', ['-n', '-6', '-p', '2', '-c'], { stdio: ['pipe', 'pipe', 'inherit'] })
    const ended = once(gzip, 'close')
    const plain = meter()
    const packed = meter()
    const temporary = join(blobs, 'incoming')
    await Promise.all([
      pipeline(Readable.from(gathered(parts()), { objectMode: true, highWaterMark: 2 }), plain, gzip.stdin),
      pipeline(gzip.stdout, packed, createWriteStream(temporary)),
    ])
    const [status] = await ended
    if (status !== 0) throw new Error(`pigz ended with status ${status}`)
    const digest = packed.digest()
    renameSync(temporary, join(blobs, digest.slice(7)))
    layers.push({ digest, size: packed.bytes, diffId: plain.digest(), plain: plain.bytes })
  }
  const blob = (mediaType, value) => {
    const data = Buffer.from(JSON.stringify(value))
    const hex = createHash('sha256').update(data).digest('hex')
    writeFileSync(join(blobs, hex), data)
    return { mediaType, digest: `sha256:${hex}`, size: data.length }
  }
  const config = blob('application/vnd.oci.image.config.v1+json', {
    created: '1970-01-01T00:00:00Z',
    os: 'linux',
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
  })
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = blob(mediaType, {
    schemaVersion: 2,
    mediaType,
    config,
    layers: layers.map(({ digest, size }) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size })),
  })
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const manifests = [{ ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } }]
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
  return layers
}
