/**
 * Where the native programs are that the gateway directs.
 *
 * @module
 */
import { existsSync } from "node:fs"
import * as nodePath from "node:path"
import { fileURLToPath } from "node:url"
import { type ErrorFields, errorFields, isErrorCode, printable } from "./Errors.js"
import type * as Process from "./Process.js"

/** What to do when a native program is not there. */
export const buildRemedy = 'Build it with "npx shifter-build-native", or install the native programs and name their "prefix" in the configuration.'

/** The program of a name: below the prefix when one is given, else where this package built it, else as the system finds it. */
export const program = (name: string, prefix: string | undefined): string => {
  if (prefix !== undefined) return nodePath.join(prefix, "bin", name)
  const file = built(name)
  return file !== undefined && existsSync(file) ? file : name
}

/** Where this package builds a program; undefined where it has no native sources. */
export const built = (name: string): string | undefined => {
  const root = packageRoot()
  return root === undefined ? undefined : nodePath.join(root, "build-native", name)
}

/** How a native program ended that did not say its last word. */
export const ended = (name: string, { status, stderr }: Process.Exit): ErrorFields => {
  const [, code = "", what = ""] = /^shifter: ([A-Z_]+): (.*?)\.?$/m.exec(stderr) ?? []
  if (isErrorCode(code)) return errorFields(code, `${name} could not go on: ${what}`)
  return status === KILLED
    ? errorFields("RESOURCE", `${name} was killed, as the system does where memory ends`)
    : errorFields("INTERNAL", `${name} ended with status ${status}: ${printable(stderr || "it said nothing")}`)
}

/** SIGKILL. */
const KILLED = 128 + 9

/** The package's directory, which holds the native sources too. */
export const packageRoot = (): string | undefined => {
  let directory = nodePath.dirname(fileURLToPath(import.meta.url))
  for (let levels = 0; levels < 5; levels++) {
    if (existsSync(nodePath.join(directory, "native/meson.build"))) return directory
    directory = nodePath.dirname(directory)
  }
  return undefined
}
