/**
 * `shifter-gateway serve`: the service, until a signal comes.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { errorFields, FormatError } from "../../core/Errors.js"
import * as Site from "../../core/Site.js"
import * as Dialect from "../../gateway/dialect/index.js"
import { Pulls } from "../../gateway/Pulls.js"
import * as Server from "../../gateway/Server.js"
import { scheduled } from "../../core/Upkeep.js"
import { serviceLayer } from "../../live.js"
import { failed, usageFault } from "./failure.js"
import type { Values } from "./usage.js"

const levels: Readonly<Record<string, LogLevel.LogLevel>> = { debug: LogLevel.Debug, info: LogLevel.Info, warning: LogLevel.Warning, error: LogLevel.Error }

export const serve = async ({ config, "log-level": wanted = "info" }: Values, version: string): Promise<number> => {
  const level = levels[wanted]
  if (level === undefined) return failed(usageFault(`there is no log level "${wanted}"`, `Levels are ${Object.keys(levels).join(", ")}.`), false)
  const cancel = new AbortController()
  // A second signal ends the program at once.
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => cancel.abort())
  const exit = await Effect.runPromiseExit(
    Effect.scoped(service(config, version)).pipe(Effect.provide(Layer.merge(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.jsonLogger)), Logger.minimumLogLevel(level)))),
    { signal: cancel.signal }
  )
  if (exit._tag === "Success" || Cause.isInterruptedOnly(exit.cause)) return 0
  return failed(Cause.squash(exit.cause), false)
}

const service = (config: string | undefined, version: string) =>
  Effect.gen(function* () {
    const site = yield* siteOf(config)
    if (!Server.mockIsSafe(site)) return yield* Server.mockRefused
    if (site.server.authentication === "mock") yield* Effect.logWarning("authentication is mock: everyone on this machine is whoever he says")
    yield* Effect.forEach(site.warnings, (warning) => Effect.logWarning(warning), { discard: true })
    const context = yield* Layer.build(serviceLayer(site))
    // Ended after the server: what runs is put back when nobody can ask any more.
    yield* Context.get(context, Pulls).run
    yield* Effect.provide(scheduled(site), context)
    const { addresses } = yield* Effect.provide(Server.serve({ site, version, dialects: yield* Effect.provide(Dialect.make(site), context) }), context)
    yield* Effect.logInfo("listening").pipe(Effect.annotateLogs({ addresses: addresses.join(" "), version, configuration: site.source ?? "" }))
    yield* Effect.addFinalizer(() => Effect.logInfo("stopping"))
    return yield* Effect.never
  })

/** A person's own directories have nobody else to serve. */
export const siteOf = (config: string | undefined): Effect.Effect<Site.Site, FormatError> =>
  Effect.flatMap(Site.load(config), (site) =>
    site.isPersonal
      ? new FormatError(errorFields("CONFIG_INVALID", `There is no configuration ${Site.defaultFile}`, { remedy: "Write one, or name another with --config; see docs/gateway-service.md." }))
      : Effect.succeed(site)
  )
