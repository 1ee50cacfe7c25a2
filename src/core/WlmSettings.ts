/**
 * What `gateway.json` says of workload managers.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import { AbsolutePath } from "./AbsolutePath.js"

/** A path that stands in files whose lines are words. */
const PlainPath = AbsolutePath.pipe(Schema.pattern(/^\/[A-Za-z0-9._/+@-]{0,200}$/, { message: () => "an absolute path of letters, digits and . _ / + @ -" }))

/** What the programs of a workload manager are asked with. */
const Reached = {
  /** Directory of its programs. Without it: where this machine's path finds them. */
  programs: Schema.optional(AbsolutePath)
}

/** `systems.NAME.slurm`: how Slurm's nodes of a system are set up. */
export const SlurmSettings = Schema.Struct({
  ...Reached,
  /** The `slurm.conf` of the cluster, where it is not the machine's own. */
  config: Schema.optional(AbsolutePath),
  /** Where the native programs are installed on its nodes; `prefix` of the gateway, else `/usr/local`. */
  prefix: Schema.optional(PlainPath),
  /** Where the rendered files are put, on all of its machines. */
  directory: Schema.optionalWith(PlainPath, { default: () => "/etc/slurm/shifter" }),
  /** Whether the options are `--shifter.image` and so on, where others have the short names. */
  longOptions: Schema.optionalWith(Schema.Boolean, { default: () => false }),
  /** Whether every task of a step runs inside of the job's image, or what is started by `shifter`. */
  tasks: Schema.optionalWith(Schema.Literal("outside", "inside"), { default: () => "outside" as const }),
  /** The `shifterimg` that `--image-pull` runs at submission. Without it: as the user's path finds it. */
  shifterimg: Schema.optional(PlainPath)
})
export type SlurmSettings = typeof SlurmSettings.Type

/** `systems.NAME.pbs`: how the hook of PBS is set up on a system. */
export const PbsSettings = Schema.Struct({
  ...Reached,
  /** Where the native programs are installed on its nodes and its server; `prefix` of the gateway, else `/usr/local`. */
  prefix: Schema.optional(PlainPath),
  /** Where the rendered files are put on its server. */
  directory: Schema.optionalWith(PlainPath, { default: () => "/etc/shifter/pbs" }),
  /** The first `runDirectory` of the nodes' `runtime.conf`. */
  runDirectory: Schema.optionalWith(PlainPath, { default: () => "/run/shifter" }),
  /** How long one of the native programs may take in an event. */
  seconds: Schema.optionalWith(Schema.Int.pipe(Schema.between(5, 600)), { default: () => 60 }),
  /** Seconds between two looks of a node after what is left over or outside. */
  every: Schema.optionalWith(Schema.Int.pipe(Schema.between(30, 86400)), { default: () => 120 }),
  /** Nodes that run no images: their names, as PBS knows them. */
  excludeHosts: Schema.optionalWith(Schema.Array(Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/, { message: () => "the name of a host" }))), { default: () => [] }),
  /** Nodes whose `resources_available.vntype` holds one of these run no images either. */
  excludeVntypes: Schema.optionalWith(Schema.Array(Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9._-]{1,100}$/, { message: () => "a vnode type" }))), { default: () => [] })
})
export type PbsSettings = typeof PbsSettings.Type

/** `conversions`: heavy conversions leave this machine as jobs of a workload manager. */
export const Conversions = Schema.Struct({
  wlm: Schema.Literal("slurm", "pbs"),
  /** The system whose nodes convert; the default one without it. */
  system: Schema.optional(Schema.String),
  /** A directory that this machine and the nodes see by the same path, of this gateway's account alone. */
  directory: PlainPath,
  /** Where the native programs are on the nodes; `prefix` of the gateway, else `/usr/local`. */
  prefix: Schema.optional(PlainPath),
  /** Further options of the program that submits, each a word. */
  // eslint-disable-next-line no-control-regex
  options: Schema.optionalWith(Schema.Array(Schema.String.pipe(Schema.pattern(/^[^\u0000-\u001f]{1,1000}$/, { message: () => "one word of the command line" }))), { default: () => [] }),
  /** Images whose layers are smaller together are converted here. */
  fromBytes: Schema.optionalWith(Schema.Int.pipe(Schema.nonNegative()), { default: () => 0 })
})
export type Conversions = typeof Conversions.Type
