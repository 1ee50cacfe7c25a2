/**
 * Docker and OCI images: registries (`docker:`) and layouts (`oci:`).
 *
 * @module
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import type { ImageSource } from "../../core/Image.js"
import type { RegistrySettings } from "../../core/Registries.js"
import * as DockerImage from "./DockerImage.js"
import * as Layout from "./Layout.js"
import * as Registry from "./Registry.js"

export { layer as httpLayer } from "./NodeHttp.js"
export type { RegistrySettings } from "../../core/Registries.js"

/** The source of `docker:` references. Needs an HTTP client that follows no redirects by itself, such as {@link httpLayer}. */
export const registrySource = (settingsOf: (host: string) => RegistrySettings): Effect.Effect<ImageSource, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (http) => {
    const shared: Registry.Shared = { http, settingsOf, tokens: new Map() }
    return {
      types: ["docker"],
      resolve: (ref, options) => Effect.flatMap(Registry.store(shared, ref, options), (store) => DockerImage.resolve(store, options))
    }
  })

/** The source of `oci:DIR[:TAG]` references. */
export const layoutSource: ImageSource = {
  types: ["oci"],
  resolve: (ref, options) => Effect.flatMap(Layout.store(ref, options), (store) => DockerImage.resolve(store, options))
}
