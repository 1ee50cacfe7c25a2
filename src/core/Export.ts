/**
 * Images as other programs take them: the squashfs file itself, one tar archive, or an OCI layout with one layer. Nothing appears under the
 * target's name before it is whole.
 *
 * @module
 */
import { createHash, randomBytes } from "node:crypto"
import { constants, copyFile, type FileHandle, mkdir, open, rename, rm, writeFile } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { errorFields, GatewayError, messageOf, printable, storageCode, systemCode } from "./Errors.js"
import type { ImageRecord } from "./ImageRecord.js"
import * as Process from "./Process.js"

export const ExportFormat = Schema.Literal("squashfs", "tar", "oci")
export type ExportFormat = typeof ExportFormat.Type

/** Writes a published image to a path that does not exist yet. Fails with `EXPORT_FAILED`, `STORAGE_FULL` or `TOOL_MISSING`. */
export const write = (image: string, record: ImageRecord, format: ExportFormat, target: string): Effect.Effect<void, GatewayError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const attempt = attempts(target)
      const there = yield* attempt(() => open(target, "r").then((handle) => handle.close().then(() => true), (error: unknown) => systemCode(error) !== "ENOENT"))
      if (there) return yield* new GatewayError(errorFields("EXPORT_FAILED", `${target} exists already`, { remedy: "Name a file that does not exist." }))
      const temporary = `${target}.${randomBytes(6).toString("hex")}.part`
      yield* Effect.addFinalizer(() => Effect.promise(() => rm(temporary, { recursive: true, force: true }).catch(() => undefined)))
      switch (format) {
        case "squashfs":
          yield* attempt(() => copyFile(image, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE))
          break
        case "tar":
          yield* Effect.asVoid(tar(image, temporary, target, record))
          break
        case "oci":
          yield* layout(image, record, temporary, target)
      }
      yield* attempt(() => rename(temporary, target))
    })
  )

const attempts =
  (target: string) =>
  <A>(f: () => Promise<A>): Effect.Effect<A, GatewayError> =>
    Effect.tryPromise({
      try: f,
      catch: (error) => new GatewayError(errorFields(storageCode(error, "EXPORT_FAILED"), `${target} can't be written: ${messageOf(error)}`, { cause: error }))
    })

/** A tar archive of an image, the root's own attributes with it. What is private stays its writer's. */
const tar = (image: string, file: string, target: string, record: ImageRecord): Effect.Effect<FileHandle, GatewayError, Scope.Scope> =>
  Effect.gen(function* () {
    const out = yield* Effect.acquireRelease(attempts(target)(() => open(file, "wx+", record.access === "private" ? 0o600 : 0o644)), (handle) => Effect.promise(() => handle.close()))
    const process = yield* Process.scoped("sqfs2tar", ["--root-becomes", ".", image], { stdin: "ignore", stdout: out.fd }).pipe(
      Effect.mapError((fault) => new GatewayError(errorFields("TOOL_MISSING", `The image can't be read: ${fault.message}`, { remedy: "Install the package squashfs-tools-ng.", cause: fault })))
    )
    const exit = yield* Effect.promise(() => process.exit)
    if (exit.status !== 0) {
      const full = /no space left|disk quota/i.test(exit.stderr)
      return yield* new GatewayError(errorFields(full ? "STORAGE_FULL" : "EXPORT_FAILED", `sqfs2tar ended with status ${exit.status}: ${printable(exit.stderr || "it said nothing")}`))
    }
    return out
  })

const layout = (image: string, record: ImageRecord, directory: string, target: string) =>
  Effect.gen(function* () {
    const attempt = attempts(target)
    const blobs = nodePath.join(directory, "blobs/sha256")
    yield* attempt(() => mkdir(directory, { mode: record.access === "private" ? 0o700 : 0o755 }).then(() => mkdir(blobs, { recursive: true })))
    const archive = yield* tar(image, nodePath.join(blobs, "layer"), target, record)
    const layer = yield* attempt(() => described(archive))
    yield* attempt(() => rename(nodePath.join(blobs, "layer"), nodePath.join(blobs, layer.digest.slice(7))))
    const document = (mediaType: string, value: unknown) =>
      attempt(async () => {
        const bytes = Buffer.from(JSON.stringify(value))
        const digits = createHash("sha256").update(bytes).digest("hex")
        await writeFile(nodePath.join(blobs, digits), bytes)
        return { mediaType, digest: `sha256:${digits}`, size: bytes.length }
      })
    const [os = "", architecture = "", variant] = record.platform.split("/")
    const config = yield* document("application/vnd.oci.image.config.v1+json", {
      created: "1970-01-01T00:00:00Z",
      os,
      architecture,
      ...(variant === undefined ? {} : { variant }),
      config: {
        Env: record.env,
        ...(record.entrypoint.length === 0 ? {} : { Entrypoint: record.entrypoint }),
        ...(record.command.length === 0 ? {} : { Cmd: record.command }),
        ...(record.workdir === undefined ? {} : { WorkingDir: record.workdir }),
        Labels: Object.fromEntries(record.labels)
      },
      rootfs: { type: "layers", diff_ids: [layer.digest] }
    })
    const mediaType = "application/vnd.oci.image.manifest.v1+json"
    const manifest = yield* document(mediaType, {
      schemaVersion: 2,
      mediaType,
      config,
      layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", ...layer }]
    })
    const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": "latest" } }] }
    yield* attempt(() => writeFile(nodePath.join(directory, "index.json"), JSON.stringify(index)))
    yield* attempt(() => writeFile(nodePath.join(directory, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" })))
  })

const described = async (archive: FileHandle) => {
  const hash = createHash("sha256")
  const piece = Buffer.allocUnsafeSlow(1024 * 1024)
  let size = 0
  for (;;) {
    const { bytesRead } = await archive.read(piece, 0, piece.length, size)
    if (bytesRead === 0) return { digest: `sha256:${hash.digest("hex")}`, size }
    hash.update(piece.subarray(0, bytesRead))
    size += bytesRead
  }
}
