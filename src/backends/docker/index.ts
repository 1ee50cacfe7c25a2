/**
 * Docker and OCI images: registries (`docker:`), layouts (`oci:`), archives (`docker-archive:`,
 * `oci-archive:`) and daemons (`docker-daemon:`).
 *
 * @module
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { carried, ImageError } from "../../core/Errors.js"
import type { ImageSource } from "../../core/Image.js"
import { dockerName } from "../../core/ImageRef.js"
import type { RegistrySettings } from "../../core/Registries.js"
import * as Archive from "./Archive.js"
import * as Budgets from "./Budgets.js"
import * as Daemon from "./Daemon.js"
import type { DaemonSettings } from "./Daemon.js"
import * as DockerImage from "./DockerImage.js"
import * as DockerLogins from "./DockerLogins.js"
import * as Layout from "./Layout.js"
import * as Registry from "./Registry.js"

export type { DaemonSettings } from "./Daemon.js"
export { login, logout } from "./Login.js"
export type { LoginOptions } from "./Login.js"
export { layer as httpLayer } from "../../core/http/NodeHttp.js"
export type { ProxySettings, RegistrySettings } from "../../core/Registries.js"

/**
 * The source of `docker:` references. Needs an HTTP client that follows no redirects by itself, such as {@link httpLayer}. Registries for
 * which `leftTo` names a daemon are left to it. `dockerLogins` is the directory where `docker login` keeps what neither a request nor the
 * settings say. `forStrangers`: whoever is on the network says what is pulled, and no registry of this network is asked that has no settings.
 */
export const registrySource = (
  settingsOf: (host: string) => RegistrySettings,
  leftTo: (host: string) => DaemonSettings | undefined = () => undefined,
  dockerLogins?: string,
  forStrangers: boolean = false
): Effect.Effect<ImageSource, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (http) => {
    const shared: Registry.Shared = { http, settingsOf, tokens: new Map(), budgets: Budgets.make(), dockerLogins, forStrangers }
    return {
      types: ["docker"],
      resolve: (ref, options) =>
        Effect.gen(function* () {
          const { host } = yield* Either.mapLeft(dockerName(ref), (error) => new ImageError(carried(error)))
          const daemon = leftTo(host)
          if (daemon === undefined) return yield* Effect.flatMap(Registry.store(shared, ref, options), (store) => DockerImage.resolve(store, options))
          return yield* Daemon.resolve(daemon, ref, options, { login: Registry.loginOf(shared, host, options.credentials) })
        })
    }
  })

/** Whether there is a login of one's own for a host: in its settings, or kept by `docker login`. Where that can't be told, there may be one. */
export const hasLogin =
  (settingsOf: (host: string) => RegistrySettings, dockerLogins: string | undefined) =>
  (host: string): Effect.Effect<boolean> =>
    Effect.try(() => settingsOf(host).credentials !== undefined).pipe(
      Effect.flatMap((given) => (given || dockerLogins === undefined ? Effect.succeed(given) : Effect.map(DockerLogins.find(dockerLogins, host), (found) => found !== undefined))),
      Effect.orElseSucceed(() => true)
    )

/** The source of `oci:DIR[:TAG]` references. */
export const layoutSource: ImageSource = {
  types: ["oci"],
  resolve: (ref, options) => Effect.flatMap(Layout.store(ref, options), (store) => DockerImage.resolve(store, options))
}

/** The source of `docker-daemon:NAME` references: what a Docker daemon of this machine has. */
export const daemonSource = (settings: DaemonSettings): ImageSource => ({
  types: ["docker-daemon"],
  resolve: (ref, options) => Daemon.resolve(settings, ref, options)
})

/** The source of `docker-archive:FILE[:TAG]` references: what `docker save` writes, plain, gzip or zstd. */
export const dockerArchiveSource: ImageSource = {
  types: ["docker-archive"],
  resolve: (ref, options) => Effect.flatMap(Archive.dockerStore(ref, options), (store) => DockerImage.resolve(store, options))
}

/** The source of `oci-archive:FILE[:TAG]` references: OCI layouts as tar, plain, gzip or zstd. */
export const ociArchiveSource: ImageSource = {
  types: ["oci-archive"],
  resolve: (ref, options) => Effect.flatMap(Archive.ociStore(ref, options), (store) => DockerImage.resolve(store, options))
}
