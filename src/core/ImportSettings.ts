/**
 * The part of `gateway.json` that says who may import files, and from where.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"
import { errorFields, GatewayError } from "./Errors.js"
import { Id } from "./ImageRecord.js"
import * as Process from "./Process.js"
import { Host } from "./Registries.js"

const AccountName = Schema.String.pipe(Schema.pattern(/^[A-Za-z_][A-Za-z0-9_.-]{0,255}$/, { message: () => "the name of an account, or its number" }))
const bytes = (fallback: number) => Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => fallback })

/** `import`. */
export const Import = Schema.Struct({
  /** Directories below which a user may name files of his own. Their names lead through no symbolic link. */
  roots: Schema.optionalWith(Schema.Array(AbsolutePath).pipe(Schema.maxItems(100)), { default: () => [] }),
  /** Who may import beside the gateway's own account: `all`, `none`, or accounts by name or number. */
  users: Schema.optionalWith(Schema.Union(Schema.Literal("all", "none"), Schema.Array(Schema.Union(AccountName, Id))), { default: () => "none" as const }),
  /** Bytes of one upload, and of one file that is fetched from a URL. */
  uploadBytes: bytes(100 * 1024 ** 3),
  /** Bytes of all uploads of one user. */
  userBytes: bytes(200 * 1024 ** 3),
  /** Hours after which an upload that nothing was added to is removed. */
  uploadHours: Schema.optionalWith(Schema.Number.pipe(Schema.between(0.1, 8760)), { default: () => 24 }),
  /** Whether files are fetched from URLs, of https alone. */
  urls: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** Hosts, with a port where it is not 443, that may be at addresses of this network. */
  urlHosts: Schema.optionalWith(Schema.Array(Host).pipe(Schema.maxItems(100)), { default: () => [] }),
  /** A file with the certificates (PEM) of a private authority, trusted for `urlHosts` alone, beside the well-known ones. */
  urlCa: Schema.optional(AbsolutePath)
})
export type Import = typeof Import.Type
export const defaultImport: Import = Schema.decodeSync(Import)({})

/** Refuses a user who may not import. The gateway's own account may, and so may a call that names nobody, which is that account's. */
export const permitted = ({ users }: Import, uid: number | undefined): Effect.Effect<void, GatewayError> =>
  Effect.gen(function* () {
    if (uid === undefined || uid === process.getuid?.() || users === "all") return
    const named = users === "none" ? [] : users
    if (named.includes(uid)) return
    const names = named.filter((each) => typeof each === "string")
    if (names.length > 0 && (yield* numbersOf(names)).includes(uid)) return
    return yield* new GatewayError(
      errorFields("ACCESS_DENIED", `uid ${uid} may not import images`, { remedy: 'Ask the administrator, who names those who may in "import.users" of the gateway configuration.' })
    )
  })

/** The numbers of accounts, as this machine knows them now. */
const numbersOf = (names: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<number>, GatewayError> =>
  Process.output("getent", ["passwd", "--", ...names]).pipe(
    Effect.mapError((fault) => new GatewayError(errorFields("TOOL_MISSING", `Who may import can't be looked up: ${fault.message}`, { cause: fault, remedy: 'Install getent, or write numbers in "import.users".' }))),
    Effect.map(({ stdout }) =>
      stdout.split("\n").flatMap((line) => {
        const [name = "", , uid = ""] = line.split(":")
        return names.includes(name) && /^[0-9]+$/.test(uid) ? [Number(uid)] : []
      })
    )
  )
