/**
 * What an image that was a virtual machine says of itself: how its programs are run, and in labels where it comes from.
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, ImageError, printable } from "../../core/Errors.js"
import type { Described } from "../../core/Image.js"
import * as Platform from "../../core/Platform.js"
import type { Container } from "./Container.js"
import type { ReadDisk } from "./DiskReader.js"

/** What distributions give a login where `/etc/environment` says nothing. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/** Machines of 64 bits run systems of 32. */
const runsOn = (wanted: string, found: string) => wanted === found || (wanted === "amd64" && found === "386")

/** Fails where the system is for another machine than is asked for. */
export const describe = (disk: ReadDisk, { format, virtualBytes }: Container, wanted: Platform.Platform, name: string): Either.Either<Described, ImageError> => {
  const architecture = disk.facts.get("architecture") ?? "unknown"
  if (!runsOn(wanted.architecture, architecture)) {
    return Either.left(new ImageError(errorFields("PLATFORM_NOT_FOUND", `${name} is for linux/${printable(architecture)}, not for ${Platform.format(wanted)}`)))
  }
  const labels: ReadonlyArray<readonly [string, string | undefined]> = [
    ["source", "vm"],
    ["vm.format", format],
    ["vm.virtual-bytes", String(virtualBytes)],
    ["vm.partition", disk.root.name],
    ["vm.file-system", disk.root.type],
    ["vm.merged", list(disk.merged.map((each) => `${each.path}=${each.name}(${each.type})`))],
    ["vm.replayed", list(disk.replayed)],
    ["vm.distribution", list([disk.facts.get("os"), disk.facts.get("version")].flatMap((each) => each ?? []))],
    ["vm.title", disk.facts.get("title")],
    ["vm.stripped", list(disk.stripped.filter(({ count }) => count > 0).map(({ count, pattern }) => `${pattern}:${count}`))]
  ]
  return Either.right({
    platform: { os: "linux", architecture, variant: architecture === wanted.architecture ? wanted.variant : undefined },
    metadata: {
      env: [`PATH=${disk.facts.get("path") ?? PATH}`],
      entrypoint: [],
      command: [],
      workdir: "/",
      labels: labels.flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const]))
    }
  })
}

const list = (words: ReadonlyArray<string>): string | undefined => (words.length === 0 ? undefined : words.join(" "))
