/**
 * Files of known hosts, as `sshd(8)` describes them: plain and hashed names, patterns, ports and revoked keys. Certificate authorities are left
 * out, since a host's certificate is not asked for.
 *
 * @module
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import type { Address } from "../../core/SshSettings.js"

/** What a file says of one host. */
export interface KnownKeys {
  readonly keys: ReadonlyArray<Buffer>
  readonly revoked: ReadonlyArray<Buffer>
}

const SSH_PORT = 22

export const keysOf = (text: string, { host, port }: Address): KnownKeys => {
  const name = port === SSH_PORT ? host : `[${host}]:${port}`
  const keys: Array<Buffer> = []
  const revoked: Array<Buffer> = []
  for (const line of text.split("\n")) {
    const words = line.trim().split(/\s+/)
    const marker = words[0]?.startsWith("@") === true ? words.shift() : undefined
    const [names, type, encoded] = words
    if (names === undefined || type === undefined || encoded === undefined || names.startsWith("#") || !isNamed(names, name)) continue
    if (marker === undefined) keys.push(Buffer.from(encoded, "base64"))
    if (marker === "@revoked") revoked.push(Buffer.from(encoded, "base64"))
  }
  return { keys, revoked }
}

/** The type that a key says it has. */
export const typeOf = (key: Buffer): string => (key.length < 4 ? "" : key.toString("latin1", 4, 4 + Math.min(key.readUInt32BE(0), 64)))

/** What a host may show of the keys that are known of it: what else it has is not asked for. */
export const algorithms = (keys: ReadonlyArray<Buffer>): ReadonlyArray<Algorithm> => [...new Set(keys.flatMap((key) => offered.get(typeOf(key)) ?? []))]

type Algorithm = "ssh-ed25519" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" | "rsa-sha2-512" | "rsa-sha2-256"

const offered: ReadonlyMap<string, ReadonlyArray<Algorithm>> = new Map<string, ReadonlyArray<Algorithm>>([
  ["ssh-ed25519", ["ssh-ed25519"]],
  ["ecdsa-sha2-nistp256", ["ecdsa-sha2-nistp256"]],
  ["ecdsa-sha2-nistp384", ["ecdsa-sha2-nistp384"]],
  ["ecdsa-sha2-nistp521", ["ecdsa-sha2-nistp521"]],
  ["ssh-rsa", ["rsa-sha2-512", "rsa-sha2-256"]]
])

/** Whether a list of names means a host: one that matches, and none with `!` that does. */
const isNamed = (names: string, name: string): boolean => {
  if (names.startsWith("|")) return isHashOf(names, name)
  const matching = names.split(",").filter((each) => patternOf(each.replace(/^!/, "")).test(name))
  return matching.length > 0 && !matching.some((each) => each.startsWith("!"))
}

const patternOf = (glob: string): RegExp =>
  new RegExp(`^${glob.toLowerCase().replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".")}$`)

/** `|1|SALT|HASH`. */
const isHashOf = (hashed: string, name: string): boolean => {
  const [, kind, salt = "", hash = ""] = hashed.split("|")
  const wanted = Buffer.from(hash, "base64")
  const found = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest()
  return kind === "1" && wanted.length === found.length && timingSafeEqual(wanted, found)
}
