/**
 * CHOS trees (`chos:`): root file systems that a site lists in `/etc/chos`, by their names there, and archives of such trees. A tree is read anew by
 * each pull; one that is unchanged gives the image that is there.
 *
 * @module
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Chos, defaultChos } from "../../core/ChosSettings.js"
import { errorFields, ImageError, printable } from "../../core/Errors.js"
import type { ImageSource, ResolvedImage, ResolveOptions } from "../../core/Image.js"
import type { ImageMetadata } from "../../core/ImageRecord.js"
import type { ImageRef } from "../../core/ImageRef.js"
import { oneLayer } from "../../core/OneLayer.js"
import * as Platform from "../../core/Platform.js"
import * as Conf from "./Conf.js"
import { metadataOf } from "./Metadata.js"
import * as Shells from "./Shells.js"
import { siteFile } from "./SiteFile.js"
import { type From, snapshot, type Snapshot } from "./Tree.js"

export { defaultReference, type Person } from "./Default.js"
export type { Chos } from "../../core/ChosSettings.js"

/** The source of `chos:` references of a site. */
export const chosSource = (settings: Chos = defaultChos): ImageSource => ({
  types: ["chos"],
  // Which names are the site's is seen when the file is here.
  refusesImport: () => undefined,
  resolve: (ref, options) => resolve(ref, settings, options)
})

const resolve = (ref: ImageRef, settings: Chos, options: ResolveOptions): Effect.Effect<ResolvedImage, ImageError, Scope.Scope> =>
  Effect.gen(function* () {
    const name = ref.reference
    const from = yield* whereIs(name, settings, options)
    const text = yield* siteFile(settings.conf)
    const conf = text === undefined ? Conf.none : yield* Conf.parse(text, settings.conf)
    const tree = yield* snapshot(from, `chos:${printable(name)}`, options)
    const platform = yield* platformOf(tree, name, options)
    const metadata = metadataOf(name, conf, tree.report)
    const stream = yield* oneLayer(tree.digest, Effect.succeed(tree.archive), options)
    options.onProgress({ _tag: "Layer", digest: tree.digest, received: tree.archive.length, bytes: tree.archive.length, cached: true })
    return {
      sourceDigest: tree.digest,
      // Two names of one tree say different things of themselves, and so does one name when the site's chos.conf changes.
      variant: variantOf(metadata, platform),
      manifestDigest: undefined,
      platform,
      metadata,
      isPrivate: false,
      blobs: [{ digest: tree.digest, bytes: tree.archive.length, stored: undefined }],
      open: Effect.succeed(stream)
    }
  })

/** Where the tree of a name is: given by whoever imports it, or listed by the site. */
const whereIs = (name: string, settings: Chos, { file }: ResolveOptions): Effect.Effect<From, ImageError> =>
  Effect.gen(function* () {
    const text = yield* siteFile(settings.shells)
    const shell = text === undefined ? undefined : Shells.find(yield* Shells.parse(text, settings.shells), name)
    if (file !== undefined) {
      if (shell === undefined) return { _tag: "Archive" as const, file }
      return yield* new ImageError(errorFields("REFERENCE_INVALID", `chos:${printable(name)} is the name of a tree of this site`, { remedy: "Import the archive under another name." }))
    }
    if (shell === undefined) {
      return yield* new ImageError(errorFields("TREE_NOT_FOUND", `There is no tree "${printable(name)}" in ${Shells.placeOf(text, settings.shells)}`))
    }
    return { _tag: "Directory" as const, path: yield* Shells.directoryOf(shell, settings.shells), skipUnreadable: settings.unreadable === "skip" }
  })

/** 32-bit systems run on machines of both. */
const runsOn = (wanted: Platform.Platform, architecture: string): boolean => wanted.architecture === architecture || (wanted.architecture === "amd64" && architecture === "386")

const platformOf = ({ report }: Snapshot, name: string, { onProgress, platform }: ResolveOptions): Effect.Effect<Platform.Platform, ImageError> => {
  const architecture = report.facts.get("architecture") ?? "unknown"
  if (!runsOn(platform, architecture)) {
    return Effect.fail(
      new ImageError(errorFields("PLATFORM_NOT_FOUND", `The tree of chos:${printable(name)} is for linux/${architecture}, not for ${Platform.format(platform)}`, { remedy: `Ask for --platform linux/${architecture} where nodes are such machines.` }))
    )
  }
  if (architecture !== platform.architecture) onProgress({ _tag: "Warning", message: `The tree holds programs of 32 bits (linux/${architecture}): nodes need a kernel that runs them` })
  return Effect.succeed({ os: "linux", architecture, variant: architecture === platform.architecture ? platform.variant : undefined })
}

const variantOf = ({ command, entrypoint, env, labels, workdir }: ImageMetadata, platform: Platform.Platform): string =>
  `chos 1 ${createHash("sha256").update(JSON.stringify([env, entrypoint, command, workdir ?? null, labels, Platform.format(platform)])).digest("hex")}`
