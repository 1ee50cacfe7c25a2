/**
 * The image of a user who names none, where the site says so: the environment that CHOS would have given him, by `$CHOS` or a file in his home directory.
 *
 * @module
 */
import { constants } from "node:fs"
import { open } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import type { Chos } from "../../core/ChosSettings.js"
import { errorFields, ImageError, messageOf, printable, systemCode } from "../../core/Errors.js"
import * as Shells from "./Shells.js"
import { siteFile } from "./SiteFile.js"

/** Whose environment is asked for. The file is read with this process's rights: it is for the user himself to ask. */
export interface Person {
  /** `$CHOS`. */
  readonly chos?: string | undefined
  /** His home directory. */
  readonly home?: string | undefined
}

/** What CHOS reads of a name. */
const NAME_BYTES = 80

/** `chos:NAME`; undefined where the site does not say so, and for who has chosen nothing, or the machine itself. */
export const defaultReference = (settings: Chos, { chos, home }: Person): Effect.Effect<string | undefined, ImageError> =>
  Effect.gen(function* () {
    if (!settings.defaults) return undefined
    const chosen = chos !== undefined && chos !== "" ? chos : home === undefined ? undefined : yield* firstLine(nodePath.join(home, settings.userFile))
    if (chosen === undefined || chosen === "" || chosen === "/") return undefined
    const text = yield* siteFile(settings.shells)
    const shells = text === undefined ? [] : yield* Shells.parse(text, settings.shells)
    const shell = Shells.find(shells, chosen)
    if (shell !== undefined) return Shells.isMachine(shell) ? undefined : `chos:${chosen}`
    if (settings.failToDefault && Shells.find(shells, "default") !== undefined) return "chos:default"
    return yield* new ImageError(errorFields("TREE_NOT_FOUND", `There is no tree "${printable(chosen.slice(0, NAME_BYTES))}", which ${chos === chosen ? "CHOS" : settings.userFile} names, in ${Shells.placeOf(text, settings.shells)}`))
  })

/** A FIFO is not waited for. */
const firstLine = (file: string): Effect.Effect<string | undefined, ImageError> =>
  Effect.tryPromise({
    try: async () => {
      const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
      try {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(NAME_BYTES + 1), 0, NAME_BYTES + 1, 0)
        return buffer.subarray(0, bytesRead).toString("utf8").split("\n")[0]?.trim()
      } finally {
        await handle.close()
      }
    },
    catch: (error) => error
  }).pipe(
    Effect.catchAll((error) =>
      systemCode(error) === "ENOENT"
        ? Effect.succeed(undefined)
        : Effect.fail(new ImageError(errorFields("CONFIG_INVALID", `${file} can't be read: ${messageOf(error)}`, { cause: error, remedy: "Write the name of an environment into it, or remove it." })))
    )
  )
