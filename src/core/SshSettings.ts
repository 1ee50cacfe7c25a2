/**
 * How a system is reached by ssh: a part of `gateway.json`.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"

const SSH_PORT = 22

const isPort = (text: string | undefined) => text === undefined || (Number(text) >= 1 && Number(text) <= 65535)

/** `HOST`, `HOST:PORT`, or `[ADDRESS]:PORT` for IPv6. */
const HOST = /^(?:([A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?)|\[([0-9A-Fa-f:.]+)\])(?::([1-9][0-9]{0,4}))?$/

const Host = Schema.String.pipe(
  Schema.filter((text) => {
    const found = HOST.exec(text)
    return (found !== null && isPort(found[3])) || "a host, with a port where it is not 22; an IPv6 address in brackets"
  })
)

/** A host as it is connected to. */
export interface Address {
  /** In lower case, as it is looked for in a file of known hosts. */
  readonly host: string
  readonly port: number
}

/** The address that a host of the settings means. */
export const address = (text: string): Address => {
  const [, name, ipv6, port] = HOST.exec(text) ?? []
  return { host: (name ?? ipv6 ?? text).toLowerCase(), port: port === undefined ? SSH_PORT : Number(port) }
}

/** Stripes of a Lustre file, as `lfs setstripe` takes them. */
const Stripe = Schema.Struct({
  /** Over how many targets; -1: over all. */
  count: Schema.optional(Schema.Int.pipe(Schema.between(-1, 2000), Schema.filter((count) => count !== 0 || "a number of targets, or -1 for all"))),
  /** Bytes of one stripe: a multiple of 65536. */
  size: Schema.optional(Schema.Int.pipe(Schema.between(65536, 4 * 1024 ** 3 - 65536), Schema.multipleOf(65536)))
}).pipe(Schema.filter((stripe) => stripe.count !== undefined || stripe.size !== undefined || "a count, a size or both"))

export const SshSettings = Schema.Struct({
  /** Tried in this order; all of them see the image path. */
  hosts: Schema.Array(Host).pipe(Schema.minItems(1), Schema.maxItems(16)),
  username: Schema.String.pipe(Schema.pattern(/^[^\s\p{Cc}]{1,256}$/u, { message: () => "the name of an account, without blanks" })),
  /** A private key, read by nobody else; or the socket of an agent. */
  keyFile: Schema.optional(AbsolutePath),
  agent: Schema.optional(AbsolutePath),
  /** Its first line unlocks the private key. */
  passphraseFile: Schema.optional(AbsolutePath),
  /** Keys of the hosts, as OpenSSH keeps them. */
  knownHosts: AbsolutePath,
  /** No more than so many are sent, or fetched, in a second. */
  bytesPerSecond: Schema.optional(Schema.Int.pipe(Schema.between(1024, 1e12))),
  stripe: Schema.optional(Stripe)
}).pipe(
  Schema.filter((ssh) => {
    if ((ssh.keyFile === undefined) === (ssh.agent === undefined)) return "either keyFile or agent"
    return ssh.passphraseFile === undefined || ssh.keyFile !== undefined || "passphraseFile belongs to keyFile"
  })
)
export type SshSettings = typeof SshSettings.Type
