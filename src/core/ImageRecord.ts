/**
 * The record of a published image (`<id>.record`): what a node must know to run it and who may. The format is in `formats/README.md`.
 *
 * @module
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { Digest } from "./Digest.js"
import { errorFields, FormatError } from "./Errors.js"
import * as FieldFile from "./FieldFile.js"
import { isCanonical, isImageId } from "./ImageRef.js"
import { formatLimits } from "./Limits.js"

const withoutNul = Schema.String.pipe(Schema.filter((s) => !s.includes("\0") || "NUL is not allowed"))
/** A uid or gid. */
export const Id = Schema.Int.pipe(Schema.between(0, 4294967294))
const platformPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}(?:\/[A-Za-z0-9][A-Za-z0-9_.-]{0,127}){1,2}$/
/** An access list. */
export const Acl = Schema.Array(Id).pipe(Schema.maxItems(formatLimits.aclIds))

/** What an image says about running it. */
export interface ImageMetadata {
  /** `NAME=VALUE`, in the image's order. */
  readonly env: ReadonlyArray<string>
  /** The program that a start runs, with its first arguments. */
  readonly entrypoint: ReadonlyArray<string>
  /** Further arguments, or the program where there is no entry point. */
  readonly command: ReadonlyArray<string>
  /** Absolute path of the directory that a program starts in. */
  readonly workdir?: string | undefined
  /** Name and value. */
  readonly labels: ReadonlyArray<readonly [string, string]>
}
export const MetadataFields = Schema.Struct({
  env: Schema.Array(
    withoutNul.pipe(
      Schema.pattern(/^[^=]+=/, { message: () => "an environment entry is NAME=VALUE" }),
      Schema.filter((s) => FieldFile.bytesOf(s).length <= formatLimits.envBytes || `an environment entry is longer than ${formatLimits.envBytes} bytes`)
    )
  ),
  entrypoint: Schema.Array(withoutNul),
  command: Schema.Array(withoutNul),
  workdir: Schema.optional(withoutNul.pipe(Schema.pattern(/^\//, { message: () => "a working directory is an absolute path" }))),
  labels: Schema.Array(Schema.Tuple(withoutNul.pipe(Schema.filter((s) => s !== "" || "a label has a name")), withoutNul))
})

/** Who may use an image: everyone, or its owner with the users and groups listed. */
export interface Access {
  readonly access: "public" | "private"
  /** uid of the first puller. */
  readonly owner: number
  /** Further users of a private image. */
  readonly allowUids: ReadonlyArray<number>
  /** Groups whose members may use a private image. */
  readonly allowGids: ReadonlyArray<number>
}
const AccessFields = Schema.Struct({
  access: Schema.Literal("public", "private"),
  owner: Id,
  allowUids: Acl,
  allowGids: Acl
})

/** A person who asks: for whom something is done, or who may see what. */
export interface Requester {
  readonly uid: number
  /** All his groups. */
  readonly gids?: ReadonlyArray<number> | undefined
}
export const Requester = Schema.Struct({
  uid: Id,
  gids: Schema.optional(Schema.Array(Id).pipe(Schema.maxItems(formatLimits.groupCount)))
})

/** The record of a published image. */
export interface ImageRecord extends Access, ImageMetadata {
  /** 64 hex digits; other words for images that another program published. */
  readonly id: string
  /** Canonical reference it was first pulled as. */
  readonly reference: string
  /** Digest of what was converted: of the image configuration for Docker images. */
  readonly sourceDigest: Digest
  readonly manifestDigest?: Digest | undefined
  /** The packing profile, see `PackingProfile`. */
  readonly profile: string
  /** `os/arch[/variant]`. */
  readonly platform: string
  /** Bytes of the image file. */
  readonly imageSize: number
  /** SHA-256 of the image file, 64 hex digits. */
  readonly imageSha256: string
  /** Inodes of the image. */
  readonly entries: number
}
/** Its schema, for what is written in JSON. */
export const RecordFields = Schema.Struct({
  id: Schema.String.pipe(Schema.filter((s) => isImageId(s) || "not an image id")),
  reference: Schema.String.pipe(Schema.filter((s) => isCanonical(s) || "not a canonical reference")),
  sourceDigest: Digest,
  manifestDigest: Schema.optional(Digest),
  // eslint-disable-next-line no-control-regex
  profile: Schema.String.pipe(Schema.pattern(/^[^\u0000-\u001f\u007f]+$/, { message: () => "a packing profile is text without control characters" })),
  platform: Schema.String.pipe(Schema.pattern(platformPattern, { message: () => "a platform is os/arch[/variant]" })),
  imageSize: Schema.NonNegativeInt,
  imageSha256: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)),
  entries: Schema.NonNegativeInt,
  ...AccessFields.fields,
  ...MetadataFields.fields
})

const kind: FieldFile.FieldFileKind = {
  magic: "shifter-record",
  version: 1,
  limit: formatLimits.recordBytes,
  keys: {
    id: "required",
    reference: "required",
    "source-digest": "required",
    "manifest-digest": "optional",
    profile: "required",
    platform: "required",
    "image-size": "required",
    "image-sha256": "required",
    entries: "required",
    owner: "required",
    access: "required",
    "allow-uid": "repeated",
    "allow-gid": "repeated",
    entrypoint: "repeated",
    command: "repeated",
    env: "repeated",
    workdir: "optional",
    label: "repeated"
  }
}

/** Writes a record. Refuses with `RECORD_INVALID` what {@link decode} would. */
export const encode = (record: ImageRecord): Either.Either<Buffer, FormatError> => {
  const bytes = written(record)
  return Either.map(decode(bytes), () => bytes)
}

const written = (record: ImageRecord): Buffer =>
  FieldFile.encode(kind, [
    ["id", record.id],
    ["reference", record.reference],
    ["source-digest", record.sourceDigest],
    ...(record.manifestDigest === undefined ? [] : [["manifest-digest", record.manifestDigest] as const]),
    ["profile", record.profile],
    ["platform", record.platform],
    ["image-size", String(record.imageSize)],
    ["image-sha256", record.imageSha256],
    ["entries", String(record.entries)],
    ["owner", String(record.owner)],
    ["access", record.access],
    ...record.allowUids.map((uid) => ["allow-uid", String(uid)] as const),
    ...record.allowGids.map((gid) => ["allow-gid", String(gid)] as const),
    ...record.entrypoint.map((word) => ["entrypoint", word] as const),
    ...record.command.map((word) => ["command", word] as const),
    ...record.env.map((entry) => ["env", entry] as const),
    ...(record.workdir === undefined ? [] : [["workdir", record.workdir] as const]),
    ...record.labels.map(([name, value]) => ["label", `${name}\0${value}`] as const)
  ])

/** Reads a record. Fails with `RECORD_INVALID` or `RECORD_NEWER`. */
export const decode = (bytes: Uint8Array): Either.Either<ImageRecord, FormatError> =>
  Either.flatMap(FieldFile.decode(kind, bytes), (fields) => {
    const one = (key: string) => fields.get(key)?.[0]
    const all = (key: string) => fields.get(key) ?? []
    const labels = all("label").map((label) => label.split("\0"))
    const decoded = Schema.decodeUnknownEither(RecordFields)({
      id: one("id"),
      reference: one("reference"),
      sourceDigest: one("source-digest"),
      ...(fields.has("manifest-digest") ? { manifestDigest: one("manifest-digest") } : {}),
      profile: one("profile"),
      platform: one("platform"),
      imageSize: decimal(one("image-size")),
      imageSha256: one("image-sha256"),
      entries: decimal(one("entries")),
      owner: decimal(one("owner")),
      access: one("access"),
      allowUids: all("allow-uid").map(decimal),
      allowGids: all("allow-gid").map(decimal),
      entrypoint: all("entrypoint"),
      command: all("command"),
      env: all("env"),
      ...(fields.has("workdir") ? { workdir: one("workdir") } : {}),
      labels
    })
    return Either.mapLeft(decoded, (error) => new FormatError(errorFields("RECORD_INVALID", `This record is not valid: ${firstLine(error.message)}`)))
  })

/** Whether a requester may use an image. Without a requester: the image path's own account asks, which may. */
export const mayUse = (image: Access, requester: Requester | undefined): boolean =>
  requester === undefined ||
  image.access === "public" ||
  image.owner === requester.uid ||
  image.allowUids.includes(requester.uid) ||
  (requester.gids ?? []).some((gid) => image.allowGids.includes(gid))

/**
 * Joins the access of a published image with that of another pull of the same image: each puller has shown that the source lets him have
 * it, so both may use it.
 */
export const mergeAccess = (published: Access, pulled: Access): Access => {
  if (published.access === "public" || pulled.access === "public") {
    return { access: "public", owner: published.owner, allowUids: [], allowGids: [] }
  }
  const owner = published.owner === pulled.owner ? [] : [pulled.owner]
  return {
    access: "private",
    owner: published.owner,
    allowUids: [...new Set([...published.allowUids, ...owner, ...pulled.allowUids])].sort((a, b) => a - b),
    allowGids: [...new Set([...published.allowGids, ...pulled.allowGids])].sort((a, b) => a - b)
  }
}

const decimal = (text: string | undefined): number => (text !== undefined && /^(0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.NaN)
const firstLine = (text: string): string => text.split("\n").map((line) => line.trim()).filter(Boolean).slice(-1)[0] ?? text
