/**
 * A conversion as a job of a workload manager sees it: the files that the gateway puts into a directory that the node shares, the script that
 * runs there, and what it leaves.
 *
 * @module
 */
import { constants, createReadStream, createWriteStream } from "node:fs"
import { chmod, copyFile, link, readFile, writeFile } from "node:fs/promises"
import * as nodePath from "node:path"
import { pipeline } from "node:stream/promises"
import * as Effect from "effect/Effect"
import { errorFields, GatewayError, messageOf, PackerError, printable, type ShifterError, storageCode, systemCode, WlmError } from "./Errors.js"
import * as Merge from "./Merge.js"
import { packerFault, tar2sqfsArguments } from "./Packer.js"
import type { MergeLayer, RootfsSummary } from "./RootfsStream.js"

/** Names in the directory of a conversion. */
export const files = { script: "convert", log: "log", orders: "orders", report: "report", job: "job", image: "image" } as const

/** Seconds that a job waits to be known to the gateway: one whose gateway died meanwhile ends by itself. */
const KNOWN_WITHIN = 120

/**
 * The script. Every word that it is given is one of the gateway's own: paths of its configuration, numbers, versions. It ends with 3 where nobody knows
 * it, with 4 where the packer is another one than the gateway's.
 */
export const script = (knownWithin: number): string => `#!/bin/sh
# Converts an image: convert DIRECTORY PREFIX VERSION-OF-TAR2SQFS MERGE-ARGUMENT...
set -u
umask 077
cd "$1" || exit 1
PATH=$2/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SOURCE_DATE_EPOCH=0 LC_ALL=C.UTF-8
export PATH SOURCE_DATE_EPOCH LC_ALL
version=$3
shift 3
waited=0
until [ -e ${files.job} ]; do
  waited=$((waited + 1))
  [ "$waited" -gt ${knownWithin} ] && exit 3
  sleep 1
done
tar2sqfs --version | grep -q -w -F -e "$version" || exit 4
merge() {
  {
    shifter-merge "$@" <${files.orders} 3>&1 1>${files.report} 2>merge.log
    echo $? >merge.status
  } | tar2sqfs ${tar2sqfsArguments.join(" ")} --num-jobs "$(nproc)" ${files.image} >/dev/null 2>pack.log
  echo $? >pack.status
}
merge "$@"
if grep -q '^plan-needed' ${files.report}; then
  rm -f ${files.image}
  merge --plan "$@"
fi
exit 0
`

/** What a conversion is made with. */
export interface Inputs {
  /** Where it is made. */
  readonly directory: string
  readonly layers: ReadonlyArray<MergeLayer>
  readonly program: Pick<Merge.MergeOptions, "limits" | "sample">
  /** Where the native programs are on the node. */
  readonly prefix: string
  /** Version of the packer, on which the image's id depends. */
  readonly packer: string
}

/** Puts everything there that the job reads; its command. */
export const prepare = ({ directory, layers, packer, prefix, program }: Inputs) =>
  Effect.gen(function* () {
    const at = (name: string) => nodePath.join(directory, name)
    const copies = new Map<string, string>()
    const orders: Array<string> = []
    // Newest first, as the merge wants them. A blob that stands twice is there once.
    for (const [i, layer] of [...layers.entries()].reverse()) {
      const range = yield* layer.blob
      const known = copies.get(range.file)
      const file = known ?? at(`layer-${i}`)
      if (known === undefined) yield* copy(range.file, file)
      copies.set(range.file, file)
      orders.push(Merge.orderOf(i, layer, { ...range, file }))
    }
    yield* written(directory, async () => {
      await writeFile(at(files.orders), orders.join(""), { flag: "wx", mode: 0o600 })
      await writeFile(at(files.script), script(KNOWN_WITHIN), { flag: "wx", mode: 0o600 })
    })
    return ["/bin/sh", at(files.script), directory, prefix, packer, ...Merge.argumentsOf(layers.length, { ...program, plan: false })] as const
  })

/** Tells a job that it is known. */
export const known = (directory: string, id: string): Effect.Effect<void, GatewayError> =>
  written(directory, () => writeFile(nodePath.join(directory, files.job), id, { flag: "wx", mode: 0o600 }))

const written = (directory: string, write: () => Promise<void>): Effect.Effect<void, GatewayError> =>
  Effect.tryPromise({
    try: write,
    catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The directory of conversions ${directory} can't be written: ${messageOf(error)}`, { cause: error }))
  })

/** Another file with the same bytes, as cheap as the file systems allow; interrupting ends it. */
const copy = (from: string, to: string): Effect.Effect<void, GatewayError> =>
  Effect.tryPromise({
    try: async (signal) => {
      try {
        await link(from, to)
      } catch (error) {
        if (!cantLink.includes(systemCode(error) ?? "")) throw error
        await duplicate(from, to, signal)
      }
    },
    catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${from} can't be copied to ${to}: ${messageOf(error)}`, { cause: error }))
  })

const cantLink: ReadonlyArray<string> = ["EXDEV", "EPERM", "EMLINK", "EOPNOTSUPP", "ENOTSUP", "EACCES"]

/** A file that no other name leads to. */
const duplicate = async (from: string, to: string, signal: AbortSignal): Promise<void> => {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE)
    await chmod(to, 0o600)
  } catch (error) {
    if (systemCode(error) === "EEXIST") throw error
    await pipeline(createReadStream(from), createWriteStream(to, { flags: "w", mode: 0o600 }), { signal })
  }
}

/**
 * Takes what a job left: the image, copied to the target, and what the stream held. Copied, since a node that was lost and comes back may still write to
 * its own file. `how` is what the workload manager says of the job's end.
 */
export const take = ({ directory, layers }: Inputs, target: string, how: string): Effect.Effect<RootfsSummary, ShifterError> =>
  Effect.gen(function* () {
    const read = (name: string) => Effect.promise(() => readFile(nodePath.join(directory, name), "utf8").catch(() => ""))
    const status = (text: string) => (/^\d{1,3}\n$/.test(text) ? Number(text) : undefined)
    const outcome = (yield* read(files.report)).split("\n").reduce<Merge.Outcome | undefined>((last, line) => Merge.outcomeOf(layers, line) ?? last, undefined)
    const [merged, packed] = [status(yield* read("merge.status")), status(yield* read("pack.status"))]
    const isOver = merged !== undefined && packed !== undefined
    if (isOver && outcome?._tag === "Fault") return yield* outcome.error
    if (isOver && outcome !== undefined && packed !== 0) return yield* packerFault({ status: packed, stderr: yield* read("pack.log") }, nodePath.join(directory, files.image))
    if (!isOver || outcome?._tag !== "Done" || merged !== 0) {
      const said = [yield* read("merge.log"), yield* read(files.log)].map((text) => text.trim()).filter((text) => text !== "")
      return yield* new WlmError(errorFields("WLM_FAILED", `The job of a conversion ${how}, and did not do it: ${printable(said.join("; ") || "it said nothing")}`))
    }
    yield* Effect.tryPromise({
      try: (signal) => duplicate(nodePath.join(directory, files.image), target, signal),
      catch: (error) => new GatewayError(errorFields(storageCode(error, "IMAGE_PATH_UNUSABLE"), `The image can't be written at ${target}: ${messageOf(error)}`, { cause: error }))
    })
    return outcome.summary
  })

/** What a status of the script's own means. */
export const refusal = (status: number | undefined, packer: string): ShifterError | undefined =>
  status === 3
    ? new WlmError(errorFields("WLM_FAILED", `The job of a conversion did not see its directory change within ${KNOWN_WITHIN} seconds`))
    : status === 4
      ? new PackerError(errorFields("TOOL_UNSUITABLE", `The node that was to convert has no tar2sqfs ${packer}, which is this machine's version`, { remedy: "Install the same squashfs-tools-ng on both." }))
      : undefined
