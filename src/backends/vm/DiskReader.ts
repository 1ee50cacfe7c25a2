/**
 * From a raw disk to one tar archive of the system on it, by `shifter-disk`: it reads the file systems in a kernel of its own, or by the machine's where
 * the site says so, and leaves out what belongs to a machine. This module directs it, and takes what it says as a stranger's words.
 *
 * @module
 */
import { rm } from "node:fs/promises"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type ErrorCode, errorFields, ImageError, isErrorCode, printable } from "../../core/Errors.js"
import type { ResolveOptions } from "../../core/Image.js"
import type { BlobRange } from "../../core/Merge.js"
import * as Native from "../../core/Native.js"
import * as Process from "../../core/Process.js"
import type { Vm } from "../../core/VmSettings.js"
import * as Confined from "./Confined.js"

/** What was read of a disk. */
export interface ReadDisk {
  readonly archive: BlobRange
  /** The root file system: its name on the disk and its type. */
  readonly root: { readonly name: string; readonly type: string }
  /** `os`, `version`, `title`, `architecture`, `path`. */
  readonly facts: ReadonlyMap<string, string>
  /** Directories that came from other file systems of the disk. */
  readonly merged: ReadonlyArray<{ readonly path: string; readonly name: string; readonly type: string }>
  /** File systems whose journal was replayed, on a copy. */
  readonly replayed: ReadonlyArray<string>
  /** What was left out, by pattern, and how many entries. */
  readonly stripped: ReadonlyArray<{ readonly pattern: string; readonly count: number }>
}

interface Candidate {
  readonly name: string
  readonly type: string
  readonly title: string
}

interface Told {
  root: ReadDisk["root"] | undefined
  readonly facts: Map<string, string>
  readonly merged: Array<ReadDisk["merged"][number]>
  readonly replayed: Array<string>
  readonly stripped: Array<ReadDisk["stripped"][number]>
  readonly candidates: Array<Candidate>
  fault: { readonly code: ErrorCode; readonly what: string } | undefined
  done: boolean
}

const ARCHIVE = "tree.tar"
/** MiB of address space beside the kernel's own memory. */
const BESIDES = 4096
/** Lines that are kept of one kind: a disk has no more. */
const MOST = 1000

/** Reads the raw disk `file` of a room; `name` is for messages. */
export const read = (room: Confined.Room, file: string, name: string, settings: Vm, { limits, partition, workspace }: ResolveOptions): Effect.Effect<ReadDisk, ImageError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const isOwn = settings.reader === "kernel"
      // The room lies where the account that reads is not led by any path.
      const path = isOwn ? (name: string) => name : room.inside
      const numbers = { memory: settings.memoryMiB, seconds: settings.seconds, entries: limits.entries, bytes: limits.inflatedBytes }
      const command = [
        workspace.program("shifter-disk"),
        ...["--disk", path(file), "--output", path(ARCHIVE), "--scratch", isOwn ? room.directory : room.inside("."), "--reader", settings.reader],
        ...(isOwn ? [] : ["--kernel", settings.kernel]),
        ...Object.entries(numbers).flatMap(([option, value]) => [`--${option}`, String(value)]),
        ...(partition === undefined ? [] : ["--partition", partition])
      ] as const
      const process = yield* isOwn
        ? room.startAsRoot(command)
        : // It limits its kernel itself, and nearer.
          room.start(command, { fileBytes: Number.MAX_SAFE_INTEGER, seconds: 2 * settings.seconds, memoryMiB: settings.memoryMiB + BESIDES, proc: true })
      const told = yield* Process.lines(process).pipe(Stream.runFold(nothing(), hear))
      const exit = yield* Effect.promise(() => process.exit)
      if (told.fault !== undefined) return yield* refused(told.fault, told.candidates, name, isOwn)
      if (exit.status !== 0 || !told.done || told.root === undefined) return yield* new ImageError(endedOf(exit, name))
      const archive = room.at(ARCHIVE)
      const { size } = yield* Confined.regular(archive)
      yield* Effect.promise(() => rm(room.at(file), { force: true }))
      const { facts, merged, replayed, root, stripped } = told
      return { archive: { file: archive, offset: 0, length: size }, root, facts, merged, replayed, stripped }
    })
  ).pipe(
    Effect.timeoutFail({
      // It has the same limit itself, and says so.
      duration: Duration.seconds(settings.seconds + 30),
      onTimeout: () => new ImageError(errorFields("LIMIT_EXCEEDED", `${name} could not be read within ${settings.seconds} seconds`, { remedy: 'Ask the administrator to raise "vm.seconds".' }))
    })
  )

const nothing = (): Told => ({ root: undefined, facts: new Map(), merged: [], replayed: [], stripped: [], candidates: [], fault: undefined, done: false })

/** A word as it was before blanks and bytes that can't be shown were written as `\xHH`. */
const word = (text = ""): string => text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))

const keep = <A>(list: Array<A>, value: A): void => {
  if (list.length < MOST) list.push(value)
}

const hear = (told: Told, line: string): Told => {
  const [kind = "", ...words] = line.split(" ")
  const [first = "", second = "", third = ""] = words
  switch (kind) {
    case "found":
      keep(told.candidates, { name: word(first), type: second, title: words.slice(4).join(" ") })
      break
    case "root":
      told.root = { name: word(first), type: second }
      break
    case "merged":
      keep(told.merged, { path: word(first), name: word(second), type: third })
      break
    case "replayed":
      keep(told.replayed, word(first))
      break
    case "stripped":
      keep(told.stripped, { pattern: word(first), count: Number(second) })
      break
    case "fact":
      if (told.facts.size < MOST) told.facts.set(first, words.slice(1).join(" "))
      break
    case "done":
      told.done = true
      break
    case "fault":
      told.fault = { code: isErrorCode(first) ? first : "READER_FAILED", what: printable(words.slice(1).join(" ")) }
      break
  }
  return told
}

const refused = ({ code, what }: { readonly code: ErrorCode; readonly what: string }, candidates: ReadonlyArray<Candidate>, name: string, isOwn: boolean): ImageError => {
  if (code === "DISK_AMBIGUOUS") {
    const list = candidates.map((each) => `${printable(each.name)} (${printable(each.type)}, ${printable(each.title)})`).join("; ")
    return new ImageError(errorFields(code, `${name} holds more than one system: ${list}`, { remedy: `Choose one: --partition ${printable(candidates[0]?.name ?? "NAME")}.` }))
  }
  const key = code === "LIMIT_EXCEEDED" ? keys.find(([words]) => words.test(what))?.[1] : undefined
  const remedy = key === undefined ? remedies(isOwn)[code] : `Ask the administrator to raise "${key}".`
  return new ImageError(errorFields(code, `${name}: ${what}`, remedy === undefined ? {} : { remedy }))
}

/** Where it is not the disk that is at fault. */
const remedies = (isOwn: boolean): Partial<Record<ErrorCode, string>> =>
  isOwn ? { READER_FAILED: 'Mend what is said, or set "vm.reader" to "uml", which needs nothing of this machine.' } : { TOOL_MISSING: "Install the package user-mode-linux on the gateway's machine." }

/** What the reader says of a limit, and the key of `gateway.json` that it is. */
const keys: ReadonlyArray<readonly [words: RegExp, key: string]> = [
  [/memory/, "vm.memoryMiB"],
  [/ more than \d+ entries$/, "limits.entries"],
  [/^the disk's files need more than \d+ bytes$/, "limits.inflatedBytes"],
  [/^the disk was not read within \d+ seconds$/, "vm.seconds"]
]

const endedOf = (exit: Process.Exit, name: string) => {
  const [code = "", ...what] = exit.stderr.split("\n").at(-1)?.split(" ") ?? []
  return isErrorCode(code) ? errorFields(code, `${name} can't be read: ${printable(what.join(" "))}`) : Native.ended("shifter-disk", exit)
}
