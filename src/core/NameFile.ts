/**
 * Names on an image path: one small file a canonical reference, `names/<hh>/<SHA-256 of the reference>`, that holds the image id. The
 * format is in `formats/README.md`.
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, FormatError } from "./Errors.js"
import * as FieldFile from "./FieldFile.js"
import { isCanonical, isImageId, nameHash } from "./ImageRef.js"
import { formatLimits } from "./Limits.js"

/** A reference and the image it points to. */
export interface NameFile {
  /** Canonical reference. */
  readonly reference: string
  readonly id: string
}

const kind: FieldFile.FieldFileKind = {
  magic: "shifter-name",
  version: 1,
  limit: formatLimits.nameBytes,
  keys: { reference: "required", id: "required" }
}

/** Path of the file below the image path. */
export const pathOf = (canonical: string): string => {
  const hash = nameHash(canonical)
  return `names/${hash.slice(0, 2)}/${hash}`
}

/** Writes a name. Refuses with `RECORD_INVALID` what {@link decode} would. */
export const encode = (name: NameFile): Either.Either<Buffer, FormatError> => {
  const bytes = FieldFile.encode(kind, [
    ["reference", name.reference],
    ["id", name.id]
  ])
  return Either.map(decode(bytes), () => bytes)
}

/** Reads a name. Fails with `RECORD_INVALID` or `RECORD_NEWER`. */
export const decode = (bytes: Uint8Array): Either.Either<NameFile, FormatError> =>
  Either.flatMap(FieldFile.decode(kind, bytes), (fields) => {
    const reference = fields.get("reference")?.[0] ?? ""
    const id = fields.get("id")?.[0] ?? ""
    return isCanonical(reference) && isImageId(id)
      ? Either.right({ reference, id })
      : Either.left(new FormatError(errorFields("RECORD_INVALID", "This name holds no canonical reference or no valid image id")))
  })
