/**
 * Logging in to a registry: the login is tried there, and kept where `docker login` keeps it.
 *
 * @module
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import { errorFields, ImageError } from "../../core/Errors.js"
import type { Credentials } from "../../core/Image.js"
import type { RegistrySettings } from "../../core/Registries.js"
import * as Budgets from "./Budgets.js"
import * as DockerLogins from "./DockerLogins.js"
import { patiently } from "../../core/http/Patience.js"
import * as RegistryClient from "./RegistryClient.js"

export interface LoginOptions {
  /** `HOST[:PORT]`, as image references name it. */
  readonly host: string
  readonly credentials: Credentials
  readonly settingsOf: (host: string) => RegistrySettings
  /** The directory of `docker login`. */
  readonly directory: string
}

/** Tries a login and keeps it. The place where it is kept. */
export const login = ({ credentials, directory, host, settingsOf }: LoginOptions): Effect.Effect<string, ImageError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = yield* RegistryClient.make(yield* HttpClient.HttpClient, {
      host,
      repository: "",
      settingsOf,
      login: Effect.succeed(credentials),
      tokens: new Map(),
      budgets: Budgets.make(),
      loginOnly: true,
      onProgress: () => undefined
    })
    yield* patiently(Effect.scoped(client.get("")))
    if (!(yield* client.decided)) {
      return yield* new ImageError(errorFields("USAGE", `The registry ${host} asks nobody who he is, so the login can't be tried`, { remedy: "Pull without one." }))
    }
    return yield* DockerLogins.keep(directory, host, credentials)
  })

/** Forgets a login. Whether there was one. */
export const logout = (directory: string, host: string): Effect.Effect<boolean, ImageError> => DockerLogins.forget(directory, host)
