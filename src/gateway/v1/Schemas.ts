/**
 * What goes over the wire in version 1 of the API.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { Digest } from "../../core/Digest.js"
import { type ErrorReason, errorTable, type ShifterError } from "../../core/Errors.js"
import { Acl, Id, MetadataFields, RecordFields } from "../../core/ImageRecord.js"
import { ImportSource } from "../../core/Import.js"
import { formatLimits } from "../../core/Limits.js"
import { phases } from "../../core/Progress.js"
import { TokenScope } from "../../core/Tokens.js"
import { statuses } from "../Status.js"

const reasons: ReadonlyArray<ErrorReason> = [...new Set(Object.values(errorTable).map(({ reason }) => reason))]

/** The errors of a status. The code says all; the rest is for people. */
const errorOf = (status: number) =>
  Schema.Struct({
    code: Schema.Literal(...(statuses.get(status) ?? [])),
    reason: Schema.Literal(...reasons),
    /** What and where. */
    what: Schema.String,
    /** What to do next. */
    remedy: Schema.String,
    message: Schema.String
  }).annotations({ identifier: `Error${status}`, description: "What went wrong: code and reason for programs, the rest for people." })

export const errorSchemas = [...statuses.keys()].sort((a, b) => a - b).map((status) => ({ status, schema: errorOf(status) }))

export type ApiError = Schema.Schema.Type<ReturnType<typeof errorOf>>

/** Any error of the API. */
export const ApiErrors = Schema.Union(...errorSchemas.map(({ schema }) => schema))
export const isApiError = Schema.is(ApiErrors)

/** An error as it goes over the wire: without its cause. */
export const apiError = ({ code, message, reason, remedy, what }: Omit<ShifterError, "name" | "_tag">): ApiError => ({ code, reason, what, remedy, message })

/** Milliseconds since 1970. */
const Time = Schema.Number.annotations({ description: "Milliseconds since 1970." })
const count = Schema.NumberFromString.pipe(Schema.int())

export const Reference = Schema.String.pipe(Schema.minLength(1), Schema.maxLength(formatLimits.imageReferenceBytes)).annotations({
  description: "TYPE:REFERENCE, for example docker:debian:12, or id:ID."
})

/** Of a request: a key that is not known is refused. One that is mistyped, as of an access list, would else be as if it were not there. */
const whole = { parseOptions: { onExcessProperty: "error" } } as const

const system = { system: Schema.optional(Schema.String.annotations({ description: "Name of a system; the gateway's default without it." })) }

/** What a request's query may hold. */
const params = <Fields extends Schema.Struct.Fields>(fields: Fields) => Schema.Struct({ ...system, ...fields }).annotations(whole)
export const SystemParams = params({})
export const ImageParams = params({ reference: Reference })
export const ListParams = params({
  prefix: Schema.optional(Schema.String.pipe(Schema.maxLength(formatLimits.imageReferenceBytes)).annotations({ description: "Canonical references that begin so." })),
  owner: Schema.optional(count.pipe(Schema.between(0, 4294967294))),
  unnamed: Schema.optional(Schema.BooleanFromString),
  after: Schema.optional(Schema.String.pipe(Schema.maxLength(4096)).annotations({ description: "`next` of the page before." })),
  limit: Schema.optionalWith(count.pipe(Schema.between(1, 1000)), { default: () => 100 })
})

export const Image = Schema.Struct({
  system: Schema.String,
  record: RecordFields,
  names: Schema.Array(Schema.String),
  published: Schema.optional(Time),
  used: Schema.optional(Time),
  expires: Schema.optional(Time),
  unnamed: Schema.optional(Time),
  pins: Schema.optional(Schema.Array(Id)),
  scrubbed: Schema.optional(Time),
  damage: Schema.optional(Schema.String)
}).annotations({ identifier: "Image" })
export type Image = typeof Image.Type

export const ImagePage = Schema.Struct({
  images: Schema.Array(Schema.Struct({ name: Schema.String, image: Image })),
  next: Schema.optional(Schema.String)
}).annotations({ identifier: "ImagePage" })

export const Found = Schema.Struct({ id: Schema.String }).annotations({ identifier: "Found" })
export const Removed = Schema.Struct({ id: Schema.String, names: Schema.Array(Schema.String), image: Schema.Boolean }).annotations({ identifier: "Removed" })
export const AccessLists = Schema.Struct({
  access: Schema.optional(Schema.Literal("public", "private")),
  allowUids: Schema.optionalWith(Acl, { default: () => [] }),
  allowGids: Schema.optionalWith(Acl, { default: () => [] })
}).annotations({ ...whole, identifier: "AccessLists", description: "Who may use the image beside its owner; replaces what was there. Only administrators make an image public or a public one private." })
export const Expiry = Schema.Struct({ expires: Time.pipe(Schema.int(), Schema.positive()) }).annotations({ ...whole, identifier: "Expiry" })
export const Pinned = Schema.Struct({ pinned: Schema.Boolean }).annotations({ identifier: "Pinned" })

export const PullRequest = Schema.Struct({
  reference: Reference,
  platform: Schema.optional(Schema.String.pipe(Schema.maxLength(400))),
  allowUids: Schema.optional(Acl),
  allowGids: Schema.optional(Acl),
  verify: Schema.optional(Schema.Boolean),
  credentials: Schema.optional(
    Schema.Struct({ username: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(1000)), password: Schema.Redacted(Schema.String.pipe(Schema.maxLength(65536))) })
  )
}).annotations({ ...whole, identifier: "PullRequest" })

export const Progress = Schema.Struct({
  phase: Schema.Literal(...phases),
  imageId: Schema.optional(Schema.String),
  received: Schema.Number,
  bytes: Schema.Number,
  layersDone: Schema.Number,
  layers: Schema.Number,
  packed: Schema.Number,
  isWaiting: Schema.Boolean,
  warnings: Schema.Array(Schema.String)
}).annotations({ identifier: "Progress" })

const State = Schema.Literal("waiting", "running", "done", "failed", "cancelled")
export const Pull = Schema.Struct({
  id: Schema.String,
  system: Schema.String,
  reference: Schema.String,
  platform: Schema.optional(Schema.String),
  state: State,
  imageId: Schema.optional(Schema.String),
  error: Schema.optional(Schema.Struct({ code: Schema.String, what: Schema.String, remedy: Schema.String })),
  progress: Schema.optional(Progress),
  attempts: Schema.Number,
  created: Time,
  changed: Time,
  notBefore: Time,
  /** For administrators alone. */
  askers: Schema.optional(Schema.Array(Id))
}).annotations({ identifier: "Pull" })
export type Pull = typeof Pull.Type

export const PullId = Schema.Struct({ id: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{32}$/)) })
export const LimitParams = params({ limit: Schema.optionalWith(count.pipe(Schema.between(1, 1000)), { default: () => 100 }) })
export const PullPage = Schema.Struct({ pulls: Schema.Array(Pull) }).annotations({ identifier: "PullPage" })
export const Queue = Schema.Struct({
  pulls: Schema.Array(Pull),
  counts: Schema.Array(Schema.Struct({ system: Schema.String, state: State, count: Schema.Number }))
}).annotations({ identifier: "Queue" })

export const NewUpload = Schema.Struct({
  name: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(255)),
  bytes: Schema.NonNegativeInt,
  sha256: Schema.optional(Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)))
}).annotations({ ...whole, identifier: "NewUpload" })
export const Upload = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  bytes: Schema.Number,
  offset: Schema.Number.annotations({ description: "Bytes that are here, durably; the next ones begin there." }),
  complete: Schema.Boolean,
  digest: Schema.optional(Digest),
  expires: Time
}).annotations({ identifier: "Upload" })
export const UploadOffset = Schema.Struct({ "upload-offset": count.pipe(Schema.nonNegative()).annotations({ description: "The upload's `offset`." }) })

export const NewImport = Schema.Struct({
  reference: Reference,
  source: ImportSource,
  platform: Schema.optional(Schema.String.pipe(Schema.maxLength(400))),
  allowUids: Schema.optional(Acl),
  allowGids: Schema.optional(Acl),
  partition: Schema.optional(Schema.String.pipe(Schema.maxLength(200))),
  metadata: Schema.optional(Schema.partialWith(MetadataFields, { exact: true }))
}).annotations({ ...whole, identifier: "NewImport" })
export type NewImport = typeof NewImport.Type

export const CollectParams = params({ dryRun: Schema.optionalWith(Schema.BooleanFromString, { default: () => false }) })
export const Collected = Schema.Struct({
  system: Schema.String,
  expired: Schema.Array(Schema.Struct({ id: Schema.String, names: Schema.Array(Schema.String) })),
  removed: Schema.Array(Schema.Struct({ id: Schema.String, bytes: Schema.Number })),
  staged: Schema.Array(Schema.Struct({ name: Schema.String, bytes: Schema.Number })),
  scratch: Schema.Number,
  problems: Schema.Array(Schema.String)
}).annotations({ identifier: "Collected" })
export const ScrubParams = params({
  olderThanSeconds: Schema.optional(count.pipe(Schema.nonNegative())),
  limit: Schema.optional(count.pipe(Schema.between(1, 1_000_000)))
})
export const Scrubbed = Schema.Struct({
  system: Schema.String,
  read: Schema.Number,
  damaged: Schema.Array(Schema.Struct({ id: Schema.String, names: Schema.Array(Schema.String), what: Schema.String }))
}).annotations({ identifier: "Scrubbed" })

export const Systems = Schema.Struct({
  systems: Schema.Array(Schema.Struct({ name: Schema.String, isDefault: Schema.Boolean, may: Schema.Array(TokenScope), isAdmin: Schema.Boolean }))
}).annotations({ identifier: "Systems" })

export const NewToken = Schema.Struct({
  label: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(200)),
  scopes: Schema.NonEmptyArray(TokenScope),
  systems: Schema.optionalWith(Schema.Array(Schema.String).pipe(Schema.maxItems(1000)), { default: () => [] }),
  expiresInSeconds: Schema.Int.pipe(Schema.between(60, 366 * 24 * 3600))
}).annotations({ ...whole, identifier: "NewToken" })
export const Token = Schema.Struct({
  id: Schema.String,
  label: Schema.String,
  uid: Id,
  scopes: Schema.Array(TokenScope),
  systems: Schema.Array(Schema.String),
  created: Time,
  expires: Time,
  used: Schema.optional(Time)
}).annotations({ identifier: "Token" })
export const MadeToken = Schema.Struct({ token: Token, secret: Schema.String }).annotations({ identifier: "MadeToken", description: "The secret is shown this once." })
export const TokenPage = Schema.Struct({ tokens: Schema.Array(Token) }).annotations({ identifier: "TokenPage" })
export const TokenId = Schema.Struct({ id: Schema.String.pipe(Schema.minLength(1), Schema.maxLength(100)) })
export const TokenParams = params({ all: Schema.optionalWith(Schema.BooleanFromString, { default: () => false }) })

export const auditActions = ["pull", "lookup", "remove", "expire", "import", "access", "pin", "unpin", "upload", "token", "collect", "scrub", "refused"] as const
export const AuditParams = params({
  uid: Schema.optional(count.pipe(Schema.between(0, 4294967294))),
  action: Schema.optional(Schema.Literal(...auditActions)),
  before: Schema.optional(count.pipe(Schema.positive())),
  limit: Schema.optionalWith(count.pipe(Schema.between(1, 1000)), { default: () => 100 })
})
export const AuditPage = Schema.Struct({
  rows: Schema.Array(
    Schema.Struct({
      id: Schema.Number,
      time: Time,
      action: Schema.Literal(...auditActions),
      uid: Schema.optional(Schema.Number),
      by: Schema.String,
      system: Schema.optional(Schema.String),
      reference: Schema.optional(Schema.String),
      imageId: Schema.optional(Schema.String),
      digest: Schema.optional(Schema.String),
      why: Schema.String
    })
  )
}).annotations({ identifier: "AuditPage" })

export const Version = Schema.Struct({ version: Schema.String, api: Schema.Literal(1) }).annotations({ identifier: "Version" })
export const Health = Schema.Struct({ status: Schema.Literal("ok") }).annotations({ identifier: "Health" })
