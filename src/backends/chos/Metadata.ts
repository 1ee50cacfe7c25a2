/**
 * How an image of a CHOS tree is run: as CHOS would have started a shell in it.
 *
 * @module
 */
import type { ImageMetadata } from "../../core/ImageRecord.js"
import type { Conf } from "./Conf.js"
import type { Report } from "./Report.js"

/** What CHOS replaces a user's path by. */
const PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

/** `name` is what its users know it by, and what their start-up files look for in `$CHOS`. */
export const metadataOf = (name: string, { isLogin, keeps }: Conf, { facts }: Report): ImageMetadata => {
  const newest = Number(facts.get("newest"))
  const labels: ReadonlyArray<readonly [string, string | undefined]> = [
    ["source", "chos"],
    ["chos.name", name],
    ["chos.newest", Number.isSafeInteger(newest) && Math.abs(newest) <= 8.64e12 ? new Date(newest * 1000).toISOString() : undefined],
    ["chos.glibc", facts.get("glibc")],
    ["chos.kernel", facts.get("kernel")],
    ["chos.env", keeps?.join(" ")]
  ]
  return {
    env: [`PATH=${PATH}`, `CHOS=${name}`],
    entrypoint: [],
    command: isLogin ? ["/bin/bash", "-l"] : [],
    workdir: "/",
    labels: labels.flatMap(([label, value]) => (value === undefined ? [] : [[label, value] as const]))
  }
}
