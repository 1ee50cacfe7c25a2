/**
 * `shifter-gateway check`: what the configuration means, what is wrong and what is doubtful, all at once.
 *
 * @module
 */
import { accessSync, constants, lstatSync, readFileSync } from "node:fs"
import { createSecureContext } from "node:tls"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { errorTable, messageOf } from "../../core/Errors.js"
import { usable } from "../../core/JobExecutor.js"
import type { Site } from "../../core/Site.js"
import { Transport } from "../../core/Transport.js"
import * as Accounts from "../../gateway/Accounts.js"
import * as Munge from "../../gateway/Munge.js"
import { hostAndPort, mockIsSafe, mockRefused } from "../../gateway/Server.js"
import { siteTransport } from "../../live.js"
import { failed, ran } from "./failure.js"
import * as Files from "./files.js"
import { siteOf } from "./serve.js"
import type { Values } from "./usage.js"

interface Findings {
  readonly mistakes: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
}

export const check = async (values: Values): Promise<number> => {
  const loaded = await Effect.runPromise(Effect.either(siteOf(values.config)))
  if (Either.isLeft(loaded)) return failed(loaded.left, values.json === true)
  const site = loaded.right
  return ran(
    Effect.gen(function* () {
      const { mistakes, warnings } = yield* findings(site).pipe(Effect.provide(Layer.merge(siteTransport, Accounts.layer)))
      const inEffect = summary(site)
      if (values.json === true) process.stdout.write(`${JSON.stringify({ configuration: site.source, inEffect: Object.fromEntries(inEffect), mistakes, warnings })}\n`)
      else {
        process.stdout.write([`${site.source ?? ""}\n`, ...inEffect.map(([key, value]) => `  ${key.padEnd(20)}${value}\n`)].join(""))
        for (const warning of warnings) process.stderr.write(`shifter-gateway: warning: ${warning}\n`)
        for (const mistake of mistakes) process.stderr.write(`shifter-gateway: mistake: ${mistake}\n`)
      }
      return mistakes.length === 0 ? 0 : errorTable.CONFIG_INVALID.exit
    }),
    values.json === true
  )
}

const seconds = (n: number): string => (n === 0 ? "never" : n % 86400 === 0 ? `${n / 86400} days` : `${n} s`)

/** What is in effect, defaults included. No secret is among it. */
const summary = (site: Site): ReadonlyArray<readonly [string, string]> => [
  ["state", site.stateDirectory],
  ["database", site.postgres === undefined ? "one file in the state directory" : `PostgreSQL at ${site.postgres.host}, database ${site.postgres.database}`],
  ["listens on", `${site.server.listen.join(", ")} (${site.server.tls === undefined ? "plain HTTP" : "TLS"})`],
  ["authentication", `${site.server.authentication}, or tokens${site.server.publicReads ? "; public images are told to everyone" : ""}`],
  ...[...site.systems.values()].flatMap((system): ReadonlyArray<readonly [string, string]> => [
    [`system ${system.name}`, `${system.imagePath}${system.name === site.defaultSystem ? " (default)" : ""}`],
    ["  administrators", [...new Set(["root", ...system.admins])].join(", ")],
    ...(site.server.authentication === "munge" ? [["  munge", system.munge] as const] : [])
  ]),
  ...(site.conversions === undefined ? [] : [["conversions", `jobs of ${site.conversions.wlm}, by ${site.conversions.directory}`] as const]),
  ["pulls", `${site.pulls.atOnce} at once, ${site.pulls.conversions} conversions; of a user ${site.pulls.perUser}, of a registry ${site.pulls.perRegistry}; ${site.pulls.attempts} attempts`],
  ["images expire", site.lifetime.imageSeconds === 0 ? "never" : `${seconds(site.lifetime.imageSeconds)} after their last use`],
  ["unnamed images stay", seconds(site.lifetime.retentionSeconds)]
]

const findings = (site: Site): Effect.Effect<Findings, never, Transport | Accounts.Accounts> =>
  Effect.gen(function* () {
    const mistakes: Array<string> = []
    const warnings: Array<string> = [...site.warnings, ...Files.doubts(site)]
    const { server } = site
    mistakes.push(...(yield* Files.faults(site)))
    if (!mockIsSafe(site)) mistakes.push(mockRefused.message)
    else if (server.authentication === "mock") warnings.push("authentication is mock: everyone on this machine is whoever he says.")
    if (server.tls === undefined && server.listen.some(isRemote)) {
      warnings.push("server.listen holds an address that others reach, without server.tls: tokens and registry passwords cross the network as they are.")
    }
    if (server.tls !== undefined) mistakes.push(...certificateFaults(server.tls))
    if (server.publicReads) warnings.push("server.publicReads is set: names and contents of public images are told to everyone who reaches the service.")
    if (site.vm.reader === "kernel") {
      warnings.push('vm.reader is "kernel": whoever has a disk read can attack this machine with it; only a service that is root reads disks so.')
    }
    if (server.authentication === "munge" && Munge.program("unmunge") === undefined) mistakes.push("unmunge is not installed: nobody can be known by munge.")
    const accounts = yield* Accounts.Accounts
    for (const system of site.systems.values()) {
      if (server.authentication === "munge" && !isSocket(system.munge)) {
        mistakes.push(`systems.${system.name}.munge: there is no socket ${system.munge}; start munged with this system's key, or name its socket.`)
      }
      for (const admin of system.admins) {
        if (typeof admin === "string" && (yield* Effect.orElseSucceed(accounts.uidOf(admin), () => undefined)) === undefined) {
          warnings.push(`systems.${system.name}.admins: this machine knows no account ${admin}.`)
        }
      }
      const ready = yield* Effect.either((yield* Transport).ready(system))
      if (Either.isLeft(ready)) mistakes.push(`systems.${system.name}: ${ready.left.message}`)
    }
    if (site.conversions !== undefined) {
      const shared = yield* Effect.either(usable(site.conversions.directory))
      if (Either.isLeft(shared)) mistakes.push(`conversions.directory: ${shared.left.message}`)
    }
    const sockets = [...site.systems.values()].map(({ munge }) => munge)
    if (server.authentication === "munge" && new Set(sockets).size < sockets.length) {
      warnings.push("Two systems share a munge socket: whoever belongs to the one may use the other.")
    }
    return { mistakes, warnings }
  })

const isRemote = (address: string): boolean => !address.startsWith("/") && !/^(?:127\.\d+\.\d+\.\d+|localhost|::1)$/.test(hostAndPort(address).host)

const isSocket = (path: string): boolean => {
  try {
    accessSync(path, constants.W_OK)
    return lstatSync(path).isSocket()
  } catch {
    return false
  }
}

const certificateFaults = ({ certificate, key }: { readonly certificate: string; readonly key: string }): ReadonlyArray<string> => {
  try {
    createSecureContext({ cert: readFileSync(certificate), key: readFileSync(key) })
    return []
  } catch (error) {
    return [`server.tls: the certificate and key can't be used: ${messageOf(error)}.`]
  }
}
