/**
 * SHA-256 digests as registries write them: `sha256:` and 64 lower-case hex digits. Other algorithms are refused.
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.0/descriptor.md#digests
 * @module
 */
import { createHash } from "node:crypto"
import * as Schema from "effect/Schema"

/** `sha256:HEX`. */
export const Digest = Schema.String.pipe(
  Schema.pattern(/^sha256:[0-9a-f]{64}$/, { message: () => "a digest must be sha256: and 64 lower-case hex digits" }),
  Schema.brand("Digest")
)
export type Digest = typeof Digest.Type

/** Whether a text is a digest that this library accepts. */
export const isDigest = Schema.is(Digest)

/** The digest of bytes in memory. */
export const ofBytes = (bytes: Uint8Array | string): Digest =>
  Digest.make(`sha256:${createHash("sha256").update(bytes).digest("hex")}`)

/** The 64 hex digits. */
export const hex = (digest: Digest): string => digest.slice("sha256:".length)
