/**
 * Platforms of images: `os/arch[/variant]` in the words of the OCI image specification (GOOS and GOARCH).
 *
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, FormatError } from "./Errors.js"

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant: string | undefined
}

/** Node's names of architectures in the words of OCI. */
const architectures: Readonly<Record<string, readonly [string, string | undefined]>> = {
  x64: ["amd64", undefined],
  arm64: ["arm64", undefined],
  arm: ["arm", "v7"],
  ia32: ["386", undefined],
  ppc64: ["ppc64le", undefined],
  s390x: ["s390x", undefined],
  riscv64: ["riscv64", undefined]
}

/** The platform of this machine. */
export const host = (): Platform => {
  const [architecture, variant] = architectures[process.arch] ?? [process.arch, undefined]
  return { os: "linux", architecture, variant }
}

/** Parses `os/arch[/variant]`. */
export const parse = (text: string): Either.Either<Platform, FormatError> => {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text)
  return match === null || match[1] === undefined || match[2] === undefined
    ? Either.left(new FormatError(errorFields("USAGE", `"${text}" is not a platform`, { remedy: "Write os/arch or os/arch/variant, for example linux/arm64." })))
    : Either.right({ os: match[1], architecture: match[2], variant: match[3] })
}

export const format = (platform: Platform): string =>
  `${platform.os}/${platform.architecture}${platform.variant === undefined ? "" : `/${platform.variant}`}`

/** How well an offered platform serves a wanted one: undefined for not at all, higher is better. */
export const fitness = (wanted: Platform, offered: Platform): number | undefined => {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return undefined
  if (wanted.variant === offered.variant) return 2
  // arm64 is arm64/v8, whichever of the two is written; otherwise a wanted variant is not replaced by another.
  const v8 = (p: Platform) => p.architecture === "arm64" && (p.variant ?? "v8") === "v8"
  if (v8(wanted) && v8(offered)) return 2
  return wanted.variant === undefined ? 1 : undefined
}
