/**
 * Virtual machines (`vm:`): a disk, in whatever format, becomes an image of the system on it. Its headers are checked before any tool opens it, a
 * converter that sees nothing else makes a raw disk of it, and a kernel of its own reads the file systems.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { errorFields, ImageError } from "../../core/Errors.js"
import type { ImageSource, Refusal, ResolvedImage, ResolveOptions } from "../../core/Image.js"
import type { ImageRef } from "../../core/ImageRef.js"
import { oneLayer } from "../../core/OneLayer.js"
import { defaultVm, type Vm } from "../../core/VmSettings.js"
import * as Confined from "./Confined.js"
import { type Container, type Disk, refusal } from "./Container.js"
import * as Convert from "./Convert.js"
import { describe } from "./Describe.js"
import * as DiskReader from "./DiskReader.js"
import * as Given from "./Given.js"
import * as Inflate from "./Inflate.js"
import * as Ova from "./Ova.js"
import { recognize } from "./Recognize.js"

export type { Vm } from "../../core/VmSettings.js"

/** A change of what is read of a disk, or left out, is another version, and so another image. */
const VERSION = 1
const PARTITION = /^[A-Za-z0-9+_.@/-]{1,255}$/

/** The source of `vm:` references. */
export const vmSource = (settings: Vm = defaultVm): ImageSource => ({
  types: ["vm"],
  refusesImport,
  resolve: (ref, options) => (options.file === undefined && isName(ref) ? Effect.fail(importNeeded(ref)) : resolve(ref, settings, options))
})

const isName = ({ reference }: ImageRef): boolean => !reference.includes("/")

/** A path says where a disk is, not what is made of a file. */
const refusesImport = (ref: ImageRef): Refusal | undefined =>
  isName(ref) ? undefined : { what: `An import can't be named vm:${ref.reference}, which is a path`, remedy: "Name it vm:NAME[:TAG]." }

const importNeeded = ({ reference }: ImageRef): ImageError =>
  new ImageError(errorFields("IMPORT_NEEDED", `There is nowhere to pull vm:${reference} from`, { remedy: `Import it: shifterimg import vm:${reference} FILE; or write a path: vm:./${reference}.` }))

const resolve = (ref: ImageRef, settings: Vm, options: ResolveOptions): Effect.Effect<ResolvedImage, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const { partition, path } = yield* chosen(ref, options)
    const name = `The disk of vm:${ref.reference}`
    const room = yield* Confined.room(options.workspace, settings)
    const given = yield* Given.take(room, path, name, options)
    if (given.bytes > options.limits.blobBytes) {
      return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `${name} has ${given.bytes} bytes, more than ${options.limits.blobBytes}`))
    }
    const file = yield* Given.opened(given.path, given.bytes, name)
    const whole = (yield* Ova.isArchive(file)) ? yield* Ova.diskOf(file) : file
    const image = yield* Inflate.plain(room, { file: Given.GIVEN, place: whole }, options)
    const container = yield* recognize(image.place, settings)
    const blob = { digest: given.digest, bytes: given.bytes, stored: undefined }
    options.onProgress({ _tag: "Layer", digest: given.digest, received: given.bytes, bytes: given.bytes, cached: true })
    // Once, whatever the merger asks for.
    const disk = yield* Effect.cached(read(room, image, container, settings, { ...options, partition }))
    const stream = yield* oneLayer(given.digest, Effect.map(disk, ({ archive }) => archive), options)
    return {
      sourceDigest: given.digest,
      variant: `vm ${VERSION} ${partition ?? ""}`,
      manifestDigest: undefined,
      platform: options.platform,
      metadata: { env: [], entrypoint: [], command: [], labels: [] },
      read: Effect.flatMap(disk, (found) => describe(found, container, options.platform, name)),
      isPrivate: false,
      blobs: [blob],
      open: Effect.succeed(stream)
    }
  })

/** The path of a reference and the file system meant, which may stand behind a `#`. */
const chosen = ({ reference }: ImageRef, { file, partition }: ResolveOptions): Effect.Effect<{ readonly path: string; readonly partition: string | undefined }, ImageError> =>
  Effect.gen(function* () {
    const hash = file === undefined ? reference.lastIndexOf("#") : -1
    const behind = hash < 0 ? "" : reference.slice(hash + 1)
    const path = hash < 0 ? reference : reference.slice(0, hash)
    const wanted = partition ?? (behind === "" ? undefined : behind)
    if (partition !== undefined && behind !== "" && partition !== behind) {
      return yield* new ImageError(errorFields("USAGE", `vm:${reference} means the partition ${behind}, not ${partition}`, { remedy: "Name one of them." }))
    }
    if (wanted !== undefined && !PARTITION.test(wanted)) {
      return yield* new ImageError(errorFields("USAGE", `"${wanted}" is no partition of a disk`, { remedy: "Write a number, VG/LV, or 2@SUBVOLUME, as they are listed." }))
    }
    return { path, partition: wanted }
  })

const read = (room: Confined.Room, { file, place }: Disk, container: Container, settings: Vm, options: ResolveOptions): Effect.Effect<DiskReader.ReadDisk, ImageError> =>
  Effect.gen(function* () {
    if (container.virtualBytes < 512) return yield* refusal(place, "DISK_INVALID", "has less than a sector")
    const raw = yield* Convert.toRaw(room, file, place, container, settings)
    const disk = yield* DiskReader.read(room, raw, place.name, settings, options)
    for (const replayed of disk.replayed) {
      options.onProgress({ _tag: "Warning", message: `The file system ${replayed} was not unmounted: its journal was replayed on a copy, and what was not in it yet is not there.` })
    }
    return disk
  })
