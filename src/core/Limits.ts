/**
 * Limits: those of both languages come from `formats/limits.json`; those of a pull are here, with defaults that a site may raise.
 *
 * @module
 */
import shared from "../../formats/limits.json" with { type: "json" }

/** Sizes and counts that TypeScript and C enforce alike. Bytes, unless the name says otherwise. */
export const formatLimits: Readonly<
  Record<
    | "imageReferenceBytes"
    | "recordBytes"
    | "metaBytes"
    | "nameBytes"
    | "fieldCount"
    | "envBytes"
    | "aclIds"
    | "configBytes"
    | "configLineBytes"
    | "groupCount"
    | "accountReplyBytes",
    number
  >
> = shared

/** Version of the filter policy (`native/merge/policy.h`), which is part of every image id. */
export const filterPolicy: number = shared.filterPolicy

/** What a pull accepts from an image. Everything above is refused with `LIMIT_EXCEEDED`. */
export interface PullLimits {
  /** Layers of one image. At most 4,000. */
  readonly layers: number
  /** Bytes of one manifest or index. */
  readonly manifestBytes: number
  /** Bytes of one image configuration. */
  readonly configBytes: number
  /** Bytes of all layers as sent (compressed). */
  readonly blobBytes: number
  /** Bytes of all layers inflated. */
  readonly inflatedBytes: number
  /** How many times its own size a layer may inflate to, the holes of sparse files counted. Layers of up to 64 MiB inflated are not asked. */
  readonly ratio: number
  /** Entries of all layers together, and names, implied directories among them. */
  readonly entries: number
  /** Names of one directory. The packer's time grows with the square of it: a hundred thousand take about a minute. */
  readonly directoryEntries: number
  /** Path components of one name. */
  readonly depth: number
  /** Bytes of one name. */
  readonly nameBytes: number
}

export const defaultPullLimits: PullLimits = {
  layers: 1000,
  manifestBytes: 4 * 1024 * 1024,
  configBytes: 8 * 1024 * 1024,
  blobBytes: 512 * 1024 ** 3,
  inflatedBytes: 2 * 1024 ** 4,
  // gzip makes zeros at most 1,032 times smaller.
  ratio: 1100,
  entries: 20_000_000,
  directoryEntries: 200_000,
  depth: 256,
  nameBytes: 4095
}
