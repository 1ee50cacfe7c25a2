/**
 * Where a gateway's services are asked: of a gateway service over the network, or within this process. A `gateway.json` that names `gateways` is a
 * client's; any other is a site's.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"
import { complaints } from "./Complaints.js"
import { errorFields, FormatError, messageOf, printable } from "./Errors.js"
import * as Site from "./Site.js"

const Url = Schema.String.pipe(
  Schema.filter((text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined
    return (url !== undefined && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "" && url.search === "" && url.hash === "") || "http://HOST:PORT or https://HOST:PORT"
  })
)

/** `gateway.json` of a client, version 1, as it is written. */
export interface ClientConfig {
  readonly version: 1
  /** URLs of one gateway's replicas: any of them is asked, and another one where that does not answer. */
  readonly gateways: readonly [string, ...Array<string>]
  /** Name of the system that this machine belongs to; the gateway's default without it. */
  readonly system?: string | undefined
  /** File of a token, readable by its user alone. Without it: munge. */
  readonly token?: string | undefined
  /** A file with the authority's certificates (PEM), beside the well-known ones. */
  readonly ca?: string | undefined
  /** Socket of this machine's munge daemon; munge's own default without it. */
  readonly munge?: string | undefined
}
const ClientConfig = Schema.Struct({
  version: Schema.Literal(1),
  gateways: Schema.NonEmptyArray(Url),
  system: Schema.optional(Schema.NonEmptyString),
  token: Schema.optional(AbsolutePath),
  ca: Schema.optional(AbsolutePath),
  munge: Schema.optional(AbsolutePath)
})

/** How a gateway service is reached. */
export interface Remote {
  readonly gateways: readonly [string, ...Array<string>]
  readonly system: string | undefined
  /** Without it: munge, where it is installed. */
  readonly token: Redacted.Redacted | undefined
  readonly ca: string | undefined
  readonly munge: string | undefined
}

export type Place = { readonly _tag: "Here"; readonly site: Site.Site } | { readonly _tag: "Remote"; readonly remote: Remote }

export interface Wish {
  readonly config?: string | Site.GatewayConfig | ClientConfig | undefined
  readonly gateway?: string | ReadonlyArray<string> | undefined
  readonly token?: string | undefined
}

/**
 * Where what is wished for is asked: the gateways named, else the configuration named, else those of the environment's `SHIFTER_GATEWAY` (with
 * `SHIFTER_TOKEN_FILE`), else the default configuration.
 */
export const place = ({ config, gateway, token }: Wish, environment: Readonly<Record<string, string | undefined>> = process.env): Either.Either<Place, FormatError> => {
  const named = gateway ?? (config === undefined && environment["SHIFTER_GATEWAY"] !== "" ? environment["SHIFTER_GATEWAY"] : undefined)
  const secret = token === undefined ? undefined : Redacted.make(token)
  if (named !== undefined) {
    const gateways = typeof named === "string" ? named.split(/[\s,]+/).filter((each) => each !== "") : named
    const file = environment["SHIFTER_TOKEN_FILE"]
    return decode({ version: 1, gateways, ...(secret !== undefined || file === undefined || file === "" ? {} : { token: file }) }, "of the gateway named", secret)
  }
  const json: unknown = typeof config === "object" ? config : contents(config ?? Site.defaultFile)
  if (isClients(json)) return decode(json, typeof config === "object" ? "given" : (config ?? Site.defaultFile), secret)
  return Either.map(typeof config === "object" ? Site.decode(json) : Site.load(config), (site) => ({ _tag: "Here" as const, site }))
}

/** What is in a file; nothing where it can't be read, whose mistakes are told by who reads sites. */
const contents = (file: string): unknown => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as unknown
  } catch {
    return undefined
  }
}

const isClients = (json: unknown): boolean => typeof json === "object" && json !== null && "gateways" in json

const decode = (config: unknown, source: string, token: Redacted.Redacted | undefined): Either.Either<Place, FormatError> =>
  Either.gen(function* () {
    const decoded = yield* Either.mapLeft(Schema.decodeUnknownEither(ClientConfig, { onExcessProperty: "error", errors: "all" })(config), (error) =>
      refused(`The client's configuration ${source} is not valid: ${complaints(error).join("; ")}`)
    )
    return {
      _tag: "Remote" as const,
      remote: {
        gateways: decoded.gateways,
        system: decoded.system,
        token: token ?? (decoded.token === undefined ? undefined : yield* tokenOf(decoded.token)),
        ca: decoded.ca === undefined ? undefined : yield* textOf(decoded.ca, "certificates"),
        munge: decoded.munge
      }
    }
  })

const tokenOf = (file: string): Either.Either<Redacted.Redacted, FormatError> => {
  let descriptor: number | undefined
  try {
    descriptor = openSync(file, "r")
    if ((fstatSync(descriptor).mode & 0o007) !== 0) return Either.left(refused(`The token in ${file} is everyone's to read`, `Revoke it, make another one, and chmod 600 ${file}.`))
    const token = readFileSync(descriptor, "utf8").split("\n")[0]?.trim() ?? ""
    return token === "" ? Either.left(refused(`The file ${file} holds no token`)) : Either.right(Redacted.make(token))
  } catch (error) {
    return Either.left(refused(`The token ${file} can't be read: ${messageOf(error)}`))
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

const textOf = (file: string, what: string): Either.Either<string, FormatError> =>
  Either.try({ try: () => readFileSync(file, "utf8"), catch: (error) => refused(`The ${what} ${file} can't be read: ${messageOf(error)}`) })

const refused = (what: string, remedy?: string) => new FormatError(errorFields("CONFIG_INVALID", printable(what), remedy === undefined ? {} : { remedy }))
