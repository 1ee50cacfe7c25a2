/**
 * Files that a person names: copied into the pull's own scratch directory by the native program `shifter-open`, and hashed on the way, so that
 * what is converted is what was checked.
 *
 * @module
 */
import { constants } from "node:fs"
import { open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Digest } from "./Digest.js"
import { errorFields, GatewayError, type ImageError, messageOf, storageCode } from "./Errors.js"
import * as Filter from "./Filter.js"
import type { GivenFile } from "./Image.js"

export interface GivenPathOptions {
  readonly program: string
  /** The copy. */
  readonly file: string
  readonly most: number
}

/** Whose file it must be, and the directories below which he may name it. */
export interface Named {
  readonly owner: number
  readonly roots: ReadonlyArray<string>
}

/** Copies a file. Without a `named` it is this process's own user who names it, and what he can read is his to import. */
export const copy = (path: string, named: Named | undefined, options: GivenPathOptions): Effect.Effect<GivenFile, ImageError | GatewayError> =>
  Effect.scoped(
    Effect.gen(function* () {
      if (named === undefined) return yield* copyOpen(path, (yield* own(path)).fd, options)
      const { below, root } = yield* placeOf(path, named)
      const words = worded(path, options.file)
      return yield* run(["--root", root, "--owner", String(named.owner), "--", below], "ignore", options, (code, what) =>
        code === "FILE_UNAVAILABLE" ? unavailable(path, named.owner) : words(code, what)
      )
    })
  )

/** Copies a file that is open, whatever its name leads to by now. */
export const copyOpen = (path: string, fd: number, options: GivenPathOptions): Effect.Effect<GivenFile, ImageError | GatewayError> =>
  run([], fd, options, worded(path, options.file))

const worded = (path: string, file: string): Filter.FilterOptions["worded"] => (code, what) => errorFields(code, `The file ${path}${code === "STORAGE_FULL" ? `, copied to ${file}` : ""}: ${what}`)

const run = (args: ReadonlyArray<string>, stdin: number | "ignore", { file, most, program }: GivenPathOptions, words: Filter.FilterOptions["worded"]): Effect.Effect<GivenFile, ImageError | GatewayError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const out = yield* Effect.acquireRelease(
        Effect.tryPromise({
          try: () => open(file, "w", 0o600),
          catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be written: ${messageOf(error)}`, { cause: error }))
        }),
        (handle) => Effect.promise(() => handle.close())
      )
      const said = yield* Filter.run({ name: "shifter-open", program, args: ["--most", String(most), ...args], stdin, stdout: out.fd, purpose: "The file can't be read", worded: words })
      const [, bytes = "", hash = ""] = /^done (\d+) ([0-9a-f]{64})$/.exec(said) ?? []
      if (hash === "") return yield* new GatewayError(errorFields("INTERNAL", `shifter-open ended without its last word: ${said}`))
      return { path: file, bytes: Number(bytes), digest: Digest.make(`sha256:${hash}`) }
    })
  )

/** One sentence for all that may be wrong: nobody learns what is there that is not his. */
const unavailable = (path: string, owner: number) => errorFields("FILE_UNAVAILABLE", `There is no regular file of uid ${owner} at ${path} that this site imports`)

/** The directory of the site that a path lies below, by whole components, and the rest. */
const placeOf = (path: string, { owner, roots }: Named): Effect.Effect<{ readonly root: string; readonly below: string }, GatewayError> => {
  const parts = componentsOf(path)
  if (!path.startsWith("/") || path.includes("\0") || parts.includes("..")) return Effect.fail(new GatewayError(unavailable(path, owner)))
  // The one that is deepest: of two, one may be a mount that the other only leads to.
  const [root] = roots
    .map((text) => ({ text, parts: componentsOf(text) }))
    .filter((each) => each.parts.length < parts.length && each.parts.every((part, i) => part === parts[i]))
    .sort((a, b) => b.parts.length - a.parts.length)
  return root === undefined
    ? Effect.fail(new GatewayError(unavailable(path, owner)))
    : Effect.succeed({ root: `/${root.parts.join("/")}`, below: parts.slice(root.parts.length).join("/") })
}

const componentsOf = (path: string): ReadonlyArray<string> => path.split("/").filter((part) => part !== "" && part !== ".")

/** A FIFO or a device is not waited for. */
const own = (path: string): Effect.Effect<{ readonly fd: number }, GatewayError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY),
      catch: (error) => new GatewayError(errorFields("FILE_UNAVAILABLE", `The file ${path} can't be opened: ${messageOf(error)}`, { cause: error, remedy: "Name a file that this account can read." }))
    }),
    (handle) => Effect.promise(() => handle.close())
  )
