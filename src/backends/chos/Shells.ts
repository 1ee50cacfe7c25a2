/**
 * The list of a site's CHOS trees: the section `%SHELLS` of `/etc/chos`, lines of `name:path`. Its first line of a name counts, and names are exact.
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, ImageError, printable } from "../../core/Errors.js"

/** A tree as the list names it. A name may be a path, and several names may be of one tree. */
export interface Shell {
  readonly name: string
  readonly path: string
}

// eslint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f]/

const SECTION = "%SHELLS"

/** Reads the text of the file; `file` is its name, for messages. */
export const parse = (text: string, file: string): Either.Either<ReadonlyArray<Shell>, ImageError> => {
  const found: Array<Shell> = []
  let isListed = false
  for (const [index, line] of text.split("\n").entries()) {
    const invalid = (why: string) => Either.left(new ImageError(errorFields("CONFIG_INVALID", `Line ${index + 1} of ${file} ${why}`)))
    if (line.startsWith("#") || line === "") continue
    if (line.startsWith("%")) {
      isListed = line === SECTION
      continue
    }
    if (!isListed) continue
    const colon = line.indexOf(":")
    if (control.test(line)) return invalid("holds a control character")
    if (colon < 1 || colon === line.length - 1) return invalid("is no name:path")
    found.push({ name: line.slice(0, colon), path: line.slice(colon + 1) })
  }
  return Either.right(found)
}

/** Where a name was looked for, for messages. A line that is nearly that of the section would otherwise make every tree one that is not there. */
export const placeOf = (text: string | undefined, file: string): string => {
  if (text === undefined) return `${file}, which is not there`
  return text.split("\n").includes(SECTION) ? `${SECTION} of ${file}` : `${file}, which has no line that is exactly "${SECTION}"`
}

/** The tree of a name; else the one of a path that is listed, as CHOS takes a name that it does not know for a path. */
export const find = (shells: ReadonlyArray<Shell>, name: string): Shell | undefined =>
  shells.find((each) => each.name === name) ?? (name.startsWith("/") ? shells.find((each) => each.path === name) : undefined)

const partsOf = (path: string) => path.split("/").filter((part) => part !== "" && part !== ".")

/** Whether an entry is the machine itself, by which CHOS is left: `local:/`. */
export const isMachine = ({ path }: Shell): boolean => path.startsWith("/") && partsOf(path).length === 0

/** The directory of a tree. Refuses what is no tree of its own, or could be another one tomorrow. */
export const directoryOf = ({ name, path }: Shell, file: string): Either.Either<string, ImageError> => {
  const refused = (why: string) => Either.left(new ImageError(errorFields("TREE_UNSAFE", `The tree "${printable(name)}" of ${file} can't be an image: ${why}`)))
  if (!path.startsWith("/")) return refused(`its path "${printable(path)}" is not absolute`)
  const parts = partsOf(path)
  if (parts.includes("..")) return refused(`its path "${printable(path)}" has a '..'`)
  return parts.length === 0 ? refused("its path is /, the machine itself") : Either.right(`/${parts.join("/")}`)
}
