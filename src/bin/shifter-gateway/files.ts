/**
 * What a configuration names of this machine's files: whether the service could use it, if it were started now and by this account.
 *
 * @module
 */
import { X509Certificate } from "node:crypto"
import { accessSync, constants, lstatSync, readFileSync, statSync } from "node:fs"
import { dirname } from "node:path"
import * as Effect from "effect/Effect"
import { suitable } from "../../catalog/sqlite/index.js"
import { isShifterError, messageOf } from "../../core/Errors.js"
import type { Site } from "../../core/Site.js"

/** What is wrong with the files and directories that are named. */
export const faults = (site: Site): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(stateFaults(site.stateDirectory), (state) => [
    ...state,
    ...site.registryHosts.flatMap((host) => authorityFaults(`registries.${host}`, () => site.registry(host).ca)),
    ...authorityFaults("import.urlCa", () => (site.import.urlCa === undefined ? undefined : readFileSync(site.import.urlCa, "utf8"))),
    ...site.import.roots.filter((root) => !isDirectory(root)).map((root) => `import.roots: there is no directory ${root}, or it is a link.`)
  ])

/** The service makes the state directory where only it is missing. */
const stateFaults = (directory: string): Effect.Effect<ReadonlyArray<string>> => {
  if (owner(directory) === undefined) {
    const above = dirname(directory)
    return Effect.succeed(canMakeIn(above) ? [] : [`stateDirectory: ${directory} is not there, and this account can't make it in ${above}. Make it, of mode 0700, for the account that runs the service.`])
  }
  if (isAnothers(directory)) return Effect.succeed([])
  return Effect.match(suitable(directory), { onFailure: ({ message }) => [`stateDirectory: ${message}`], onSuccess: () => [] })
}

/** What this account can't tell. */
export const doubts = ({ stateDirectory }: Site): ReadonlyArray<string> =>
  isAnothers(stateDirectory) ? [`The state directory belongs to uid ${owner(stateDirectory) ?? ""}: check as that account, which must run the service too.`] : []

/** root may look at what the service's account will use. */
const isAnothers = (directory: string): boolean => process.getuid?.() === 0 && (owner(directory) ?? 0) !== 0

/** A file of certificates that can't be read, or holds none. */
const authorityFaults = (key: string, read: () => string | undefined): ReadonlyArray<string> => {
  try {
    const text = read()
    if (text !== undefined) new X509Certificate(text)
    return []
  } catch (error) {
    return [`${key}: ${isShifterError(error) ? messageOf(error) : `no certificate (PEM) can be read from the file: ${messageOf(error)}.`}`]
  }
}

const owner = (path: string): number | undefined => {
  try {
    return statSync(path).uid
  } catch {
    return undefined
  }
}

const isDirectory = (path: string): boolean => {
  try {
    return lstatSync(path).isDirectory()
  } catch {
    return false
  }
}

const canMakeIn = (directory: string): boolean => {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}
