/**
 * Munge credentials: who made one, and what it carries. They are decoded by munge's own tool, whose daemon refuses what is forged, old or
 * used before.
 *
 * @module
 */
import { accessSync, constants } from "node:fs"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { errorFields, GatewayError, printable } from "../core/Errors.js"
import type { Credentials } from "../core/Image.js"
import * as Process from "../core/Process.js"

/** What a credential says. */
export interface Decoded {
  readonly uid: number
  readonly gid: number
  /** Name of the account, as munge's machine knows it. */
  readonly user: string | undefined
  readonly credentials: ReadonlyMap<string, Credentials>
}

const DIRECTORIES = ["/usr/bin", "/usr/local/bin", "/opt/munge/bin"]
const SECONDS = 10
const LARGEST_CREDENTIAL = 256 * 1024
/** What the tool says when its daemon can't be reached. */
const NO_DAEMON = 6
const EXPIRED = 15
const REPLAYED = 17
const LARGEST_ID = 4294967294

/** The path of one of munge's programs; undefined where it is not installed. */
export const program = (name: "munge" | "unmunge"): string | undefined =>
  DIRECTORIES.map((directory) => nodePath.join(directory, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })

/** Who made a credential with the key of the daemon at a socket. Fails with `UNAUTHENTICATED`. */
export const decode = (credential: Redacted.Redacted, socket: string): Effect.Effect<Decoded, GatewayError> =>
  Effect.gen(function* () {
    const text = Redacted.value(credential)
    // What is no credential starts no program.
    if (text.length > LARGEST_CREDENTIAL || !/^MUNGE:[A-Za-z0-9+/=]+:?$/.test(text)) return yield* refused("The munge credential is none")
    const unmunge = program("unmunge")
    if (unmunge === undefined) return yield* unavailable("unmunge is not installed")
    const { status, stderr, stdout } = yield* Process.output(unmunge, ["--socket", socket], text).pipe(
      Effect.timeoutFail({ duration: `${SECONDS} seconds`, onTimeout: () => new Error(`munge did not answer within ${SECONDS} s`) }),
      Effect.mapError((error) => unavailable(error.message))
    )
    return yield* understood(status, stdout, stderr)
  })

/** What the tool's answer means. */
export const understood = (status: number, stdout: string, stderr: string): Either.Either<Decoded, GatewayError> => {
  if (status === EXPIRED) return Either.left(refused("The munge credential has expired", "Make a new one for each request; if new ones expire, the clocks of the two machines differ."))
  if (status === REPLAYED) return Either.left(refused("The munge credential was used before", "Make a new one for each request."))
  if (status === NO_DAEMON) return Either.left(unavailable(`unmunge says: ${stderr}`))
  const end = stdout.indexOf("\n\n")
  const head = end < 0 ? stdout : stdout.slice(0, end)
  const fields = new Map(head.split("\n").flatMap((line) => {
    const [, key, value] = /^([A-Z_]+):\s+(.*)$/.exec(line) ?? []
    return key === undefined || value === undefined ? [] : [[key, value] as const]
  }))
  const uid = account(fields.get("UID"))
  const gid = account(fields.get("GID"))
  if (status !== 0 || !/\(0\)$/.test(fields.get("STATUS") ?? "") || uid === undefined || gid === undefined) {
    return Either.left(refused("The munge credential is not valid for this system", "See that munge on both machines has the same key."))
  }
  return Either.right({ uid: uid.id, gid: gid.id, user: uid.name, credentials: payload(end < 0 ? "" : stdout.slice(end + 2)) })
}

/** `name (number)`; munge writes `???` for a name that it does not know. */
const account = (text: string | undefined): { readonly name: string | undefined; readonly id: number } | undefined => {
  const [, name = "", digits = ""] = /^(.*) \((\d{1,10})\)$/.exec(text ?? "") ?? []
  return digits === "" || Number(digits) > LARGEST_ID ? undefined : { name: name === "???" || name === "" ? undefined : name, id: Number(digits) }
}

const Payload = Schema.parseJson(Schema.Struct({ authorized_locations: Schema.Record({ key: Schema.String, value: Schema.String }) }))

/** Registry logins in a credential's payload; none in one that is something else. */
export const payload = (text: string): ReadonlyMap<string, Credentials> =>
  Either.match(Schema.decodeUnknownEither(Payload)(text), {
    onLeft: () => new Map<string, Credentials>(),
    onRight: ({ authorized_locations }) =>
      new Map(
        Object.entries(authorized_locations).flatMap(([location, login]) => {
          const colon = login.indexOf(":")
          // A password may hold colons, a user name none.
          return colon < 1 ? [] : [[location, { username: login.slice(0, colon), password: Redacted.make(login.slice(colon + 1)) }] as const]
        })
      )
  })

const refused = (what: string, remedy?: string) => new GatewayError(errorFields("UNAUTHENTICATED", what, remedy === undefined ? {} : { remedy }))
const unavailable = (what: string) =>
  new GatewayError(errorFields("RESOURCE", `The gateway can't check munge credentials: ${printable(what)}`, { remedy: "Ask the administrator to see that munge runs on the gateway's machine, and that munge in the configuration names its socket." }))
