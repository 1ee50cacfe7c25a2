/**
 * One replica of a gateway service, as its client asks it.
 *
 * @module
 */
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import type * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import type * as Effect from "effect/Effect"
import type { GatewayError } from "../core/Errors.js"
import { Api } from "./v1/Api.js"

/** A client that shows who asks with each request, which can fail by itself. */
export type Http = HttpClient.HttpClient.With<HttpClientError | GatewayError>

export const apiOf = (httpClient: Http, baseUrl: string) => HttpApiClient.makeWith(Api, { httpClient, baseUrl })

export interface Replica {
  readonly url: string
  readonly api: Effect.Effect.Success<ReturnType<typeof apiOf>>
  readonly http: Http
}
