/**
 * The `Executor` that makes a job of a workload manager of each heavy conversion. What the job needs is put into a directory that its node shares,
 * what it made is taken from there, and nothing stays: neither a directory nor a job, nor what a gateway left that was killed.
 *
 * @module
 */
import { lstat, mkdir, readdir, readFile, rm } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type BatchJobs, cancelled, run } from "./Batch.js"
import { Catalog } from "./Catalog.js"
import * as ConversionJob from "./ConversionJob.js"
import { errorFields, GatewayError, messageOf, PackerError, type ShifterError, storageCode } from "./Errors.js"
import { type Conversion, Executor } from "./Executor.js"
import type { PullLimits } from "./Limits.js"
import { Packer } from "./Packer.js"
import type { RootfsSummary } from "./RootfsStream.js"

export interface Options {
  readonly batch: BatchJobs
  /** A directory that this machine and the nodes see by the same path, of this account alone and of one catalogue. */
  readonly directory: string
  /** Where the native programs are on the nodes. */
  readonly prefix: string
  /** Images whose layers are smaller together are converted by the executor beneath. */
  readonly fromBytes: number
  readonly limits: PullLimits
}

/** Over the executor of what is no job: what is small, and what is made of something else than layers. */
export const layer = (options: Options): Layer.Layer<Executor, never, Executor | Packer | Catalog> =>
  Layer.effect(
    Executor,
    Effect.gen(function* () {
      const here = yield* Executor
      const packer = yield* Packer
      const catalog = yield* Catalog
      const asJob = (conversion: Conversion, version: string): Effect.Effect<RootfsSummary | undefined, ShifterError> =>
        Effect.scoped(
          Effect.gen(function* () {
            const { resolved, target, workspace } = conversion
            // It finds everything here.
            const { layers } = yield* resolved.open
            if (layers === undefined) return undefined
            yield* usable(options.directory)
            yield* sweep(options, catalog)
            const token = nodePath.basename(workspace.scratch)
            const directory = yield* made(nodePath.join(options.directory, PREFIX + token))
            const inputs = { directory, layers, prefix: options.prefix, packer: version, program: { limits: options.limits, sample: workspace.sample } }
            const command = yield* ConversionJob.prepare(inputs)
            const job = { name: `shifter-${token.slice(0, 16)}`, command, directory, output: nodePath.join(directory, ConversionJob.files.log) }
            const end = yield* run(options.batch, job, (id) => ConversionJob.known(directory, id)).pipe(
              Effect.map(({ status, why }) => ({ status, how: `ended with ${why ?? `status ${status}`}` })),
              // What it has made says more than who forgot it.
              Effect.catchIf((error) => error.code === "WLM_FAILED", (error) => Effect.succeed({ status: undefined, how: `was lost (${error.what})` }))
            )
            return yield* ConversionJob.refusal(end.status, version) ?? ConversionJob.take(inputs, target, end.how)
          })
        )
      const convert = (conversion: Conversion): Effect.Effect<RootfsSummary, ShifterError> =>
        Effect.gen(function* () {
          if (conversion.resolved.blobs.reduce((sum, blob) => sum + blob.bytes, 0) < options.fromBytes) return yield* here.convert(conversion)
          const version = yield* versionOf(packer)
          yield* conversion.fetched
          return (yield* asJob(conversion, version)) ?? (yield* here.convert(conversion))
        })
      return Executor.of({ convert })
    })
  )

/** What the directory of a conversion is called: by its pull, so that whoever comes later knows whether that still runs. */
const PREFIX = "conversion-"
const NAME = /^conversion-([0-9a-f]{16,64})$/
const JOB = /^[A-Za-z0-9._@[\]-]{1,128}$/

/** The id of an image holds the version, so the node's has to be the same. */
const versionOf = (packer: typeof Packer.Service): Effect.Effect<string, PackerError> =>
  Effect.flatMap(packer.profile, ({ packer: name }) => {
    const [, version] = /^tar2sqfs (\S+)$/.exec(name) ?? []
    return version === undefined
      ? new PackerError(errorFields("TOOL_UNSUITABLE", `Jobs convert with tar2sqfs, and the packer here is ${name}`, { remedy: "Take conversions out of the configuration." }))
      : Effect.succeed(version)
  })

const unusable = (directory: string, why: unknown) =>
  new GatewayError(errorFields(storageCode(why, "STATE_UNUSABLE"), `The directory of conversions ${directory}: ${messageOf(why)}`, { cause: why, remedy: "Make it the gateway's account's own, with mode 0700, on a file system that the nodes share." }))

/** Whoever else may write there could put another image in the place of what a job has made. */
export const usable = (directory: string): Effect.Effect<void, GatewayError> =>
  Effect.tryPromise({
    try: async () => {
      const found = await lstat(directory)
      if (!found.isDirectory()) throw new Error("it is no directory")
      if (found.uid !== process.geteuid?.()) throw new Error(`it is uid ${found.uid}'s`)
      if ((found.mode & 0o022) !== 0) throw new Error("others may write there")
    },
    catch: (error) => unusable(directory, error)
  })

/** A directory that goes with its scope. On a file system of a network a job's last write may come after the first try. */
const made = (directory: string) =>
  Effect.acquireRelease(
    Effect.as(Effect.tryPromise({ try: () => mkdir(directory, { mode: 0o700 }), catch: (error) => unusable(directory, error) }), directory),
    () => Effect.ignoreLogged(removed(directory))
  )

const removed = (directory: string) => Effect.tryPromise(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }))

/** Ends the jobs of pulls that run no more, and removes what they left. What can't be ended now is the next one's. */
const sweep = ({ batch, directory }: Options, catalog: typeof Catalog.Service): Effect.Effect<void, ShifterError> =>
  Effect.gen(function* () {
    const names = yield* Effect.tryPromise({ try: () => readdir(directory), catch: (error) => unusable(directory, error) })
    const tokens = names.flatMap((name) => NAME.exec(name)?.[1] ?? [])
    if (tokens.length === 0) return
    // A pull is in the catalogue before it has a directory.
    const running = new Set(yield* catalog.running)
    yield* Effect.forEach(
      tokens.filter((token) => !running.has(token)),
      (token) =>
        Effect.gen(function* () {
          const left = nodePath.join(directory, PREFIX + token)
          const job = yield* Effect.promise(() => readFile(nodePath.join(left, ConversionJob.files.job), "utf8").catch(() => ""))
          if (JOB.test(job)) yield* cancelled(batch, job)
          yield* Effect.ignoreLogged(removed(left))
        }),
      { discard: true, concurrency: 4 }
    )
  })
