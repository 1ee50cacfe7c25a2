/**
 * Image ids: hex SHA-256 over format version, source digest and packing profile, and for imports and private repositories what else decides them. The
 * same id means the same bytes, and that whoever is told of the one may be told of the other.
 *
 * @module
 */
import { createHash } from "node:crypto"
import type { Digest } from "./Digest.js"
import { filterPolicy } from "./Limits.js"

/** How an image is packed. Everything that changes its bytes is here. */
export interface PackingProfile {
  /** Program and version, such as `tar2sqfs 1.2.0`. */
  readonly packer: string
  readonly compressor: string
  readonly level: number
  /** Bytes of a data block. */
  readonly blockSize: number
}

/** The profile as text, as records hold it. */
export const profileText = (profile: PackingProfile): string =>
  `${profile.packer}; ${profile.compressor} ${profile.level}; block ${profile.blockSize}; policy ${filterPolicy}`

/**
 * The variant of what a repository gives only to credentials, so that an image that everybody may have never has the names of a repository that
 * not everybody may know, even if the bytes are the same.
 */
export const privateTo = (host: string, repository: string): string => `private ${host}/${repository}`

/** The id of an image. 64 hex digits. */
export const make = (source: Digest, profile: PackingProfile, variant?: string): string =>
  createHash("sha256")
    .update(`shifter-image 1\n${source}\n${profileText(profile)}\n${variant === undefined ? "" : `${variant}\n`}`)
    .digest("hex")
