/**
 * Version 1 of the gateway's HTTP API: the one description from which the server, the typed client and the OpenAPI document are made.
 *
 * @module
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as OpenApi from "@effect/platform/OpenApi"
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import type { System } from "../../core/Site.js"
import type { Caller } from "../Policy.js"
import * as S from "./Schemas.js"

/** Who makes a request, and of which system he speaks. */
export class Asking extends Context.Tag("shifter-sdk/Asking")<Asking, { readonly caller: Caller; readonly system: System }>() {}

const errors = Schema.Union(...S.errorSchemas.map(({ schema, status }) => schema.annotations(HttpApiSchema.annotations({ status }))))

/** Finds out who asks, by the header `Authorization`. */
export class Authenticated extends HttpApiMiddleware.Tag<Authenticated>()("shifter-sdk/Authenticated", { provides: Asking, failure: errors }) {}

const text = (contentType: string) => Schema.String.pipe(HttpApiSchema.withEncoding({ kind: "Text", contentType }))
const about = (summary: string) => OpenApi.annotations({ summary, description: summary })

const images = HttpApiGroup.make("images")
  .add(HttpApiEndpoint.get("list", "/v1/images").setUrlParams(S.ListParams).addSuccess(S.ImagePage).annotateContext(about("Images by name, in pages.")))
  .add(HttpApiEndpoint.get("lookup", "/v1/lookup").setUrlParams(S.ImageParams).addSuccess(S.Found).annotateContext(about("The id that a reference points to. Counts as a use of the image.")))
  .add(HttpApiEndpoint.get("inspect", "/v1/image").setUrlParams(S.ImageParams).addSuccess(S.Image).annotateContext(about("Everything known of an image.")))
  .add(HttpApiEndpoint.get("file", "/v1/image/file").setUrlParams(S.ImageParams).addSuccess(HttpApiSchema.withEncoding(Schema.Uint8ArrayFromSelf, { kind: "Uint8Array", contentType: "application/octet-stream" })).annotateContext(about("The published squashfs, whole or one range of it; its ETag is its SHA-256.")))
  .add(HttpApiEndpoint.del("remove", "/v1/image").setUrlParams(S.ImageParams).addSuccess(S.Removed).annotateContext(about("Removes a name; with id:ID the image and all its names.")))
  .add(HttpApiEndpoint.patch("access", "/v1/image/access").setUrlParams(S.ImageParams).setPayload(S.AccessLists).addSuccess(S.Image).annotateContext(about("Changes who may use an image.")))
  .add(HttpApiEndpoint.put("setExpiry", "/v1/image/expiry").setUrlParams(S.ImageParams).setPayload(S.Expiry).addSuccess(S.Image).annotateContext(about("Says when an image expires.")))
  .add(HttpApiEndpoint.del("clearExpiry", "/v1/image/expiry").setUrlParams(S.ImageParams).addSuccess(S.Image).annotateContext(about("Lets an image never expire.")))
  .add(HttpApiEndpoint.put("pin", "/v1/image/pin").setUrlParams(S.ImageParams).addSuccess(S.Pinned).annotateContext(about("Pins an image: it neither expires nor is collected.")))
  .add(HttpApiEndpoint.del("unpin", "/v1/image/pin").setUrlParams(S.ImageParams).addSuccess(S.Pinned).annotateContext(about("Takes one's own pin away.")))
  .middleware(Authenticated)

const pulls = HttpApiGroup.make("pulls")
  .add(HttpApiEndpoint.post("create", "/v1/pulls").setUrlParams(S.SystemParams).setPayload(S.PullRequest).addSuccess(S.Pull, { status: 202 }).annotateContext(about("Asks for a pull. The same of another user's is joined where both would be given the same.")))
  .add(HttpApiEndpoint.get("list", "/v1/pulls").setUrlParams(S.LimitParams).addSuccess(S.PullPage).annotateContext(about("One's own pulls, the newest first.")))
  .add(HttpApiEndpoint.get("get", "/v1/pulls/:id").setPath(S.PullId).setUrlParams(S.SystemParams).addSuccess(S.Pull).annotateContext(about("How a pull stands.")))
  .add(HttpApiEndpoint.del("cancel", "/v1/pulls/:id").setPath(S.PullId).setUrlParams(S.SystemParams).addSuccess(S.Pull).annotateContext(about("Wants a pull no more. It ends when nobody is left who wants it.")))
  .add(
    HttpApiEndpoint.get("events", "/v1/pulls/:id/events")
      .setPath(S.PullId)
      .setUrlParams(S.SystemParams)
      .addSuccess(text("text/event-stream"))
      .annotateContext(about("How a pull stands, now and whenever that changes, as server-sent events `pull`; the stream ends with the pull."))
  )
  .middleware(Authenticated)

const uploads = HttpApiGroup.make("uploads")
  .add(HttpApiEndpoint.post("create", "/v1/uploads").setUrlParams(S.SystemParams).setPayload(S.NewUpload).addSuccess(S.Upload, { status: 201 }).annotateContext(about("Begins an upload, for an import.")))
  .add(HttpApiEndpoint.get("get", "/v1/uploads/:id").setPath(S.PullId).setUrlParams(S.SystemParams).addSuccess(S.Upload).annotateContext(about("How an upload stands.")))
  .add(
    HttpApiEndpoint.patch("append", "/v1/uploads/:id")
      .setPath(S.PullId)
      .setUrlParams(S.SystemParams)
      .setHeaders(S.UploadOffset)
      .addSuccess(S.Upload)
      .annotateContext(about("Adds the bytes of the body, as they are, at the upload's offset. What came before a cut stays."))
  )
  .add(HttpApiEndpoint.del("cancel", "/v1/uploads/:id").setPath(S.PullId).setUrlParams(S.SystemParams).addSuccess(HttpApiSchema.NoContent).annotateContext(about("Removes an upload.")))
  .add(
    HttpApiEndpoint.post("import", "/v1/imports")
      .setUrlParams(S.SystemParams)
      .setPayload(S.NewImport)
      .addSuccess(text("text/event-stream"))
      .annotateContext(about("Makes an image of a file: events `pull` with how it stands, and `done` with its record. It is a pull of the queue, with its id: it goes on without anybody who listens, and the same request joins it."))
  )
  .middleware(Authenticated)

const upkeep = HttpApiGroup.make("upkeep")
  .add(HttpApiEndpoint.post("collect", "/v1/collect").setUrlParams(S.CollectParams).addSuccess(text("text/event-stream")).annotateContext(about("Removes what has expired and what nothing points to, for administrators; the result is the event `done`.")))
  .add(HttpApiEndpoint.post("scrub", "/v1/scrub").setUrlParams(S.ScrubParams).addSuccess(text("text/event-stream")).annotateContext(about("Reads published images again, for administrators; the result is the event `done`. It ends with the connection, and goes on from there the next time.")))
  .middleware(Authenticated)

const tokens = HttpApiGroup.make("tokens")
  .add(HttpApiEndpoint.post("create", "/v1/tokens").setUrlParams(S.SystemParams).setPayload(S.NewToken).addSuccess(S.MadeToken, { status: 201 }).annotateContext(about("Makes a token. Not with a token.")))
  .add(HttpApiEndpoint.get("list", "/v1/tokens").setUrlParams(S.TokenParams).addSuccess(S.TokenPage).annotateContext(about("One's own tokens; with `all`, for administrators, everyone's.")))
  .add(HttpApiEndpoint.del("revoke", "/v1/tokens/:id").setPath(S.TokenId).setUrlParams(S.TokenParams).addSuccess(HttpApiSchema.NoContent).annotateContext(about("Ends a token.")))
  .middleware(Authenticated)

const service = HttpApiGroup.make("service")
  .add(HttpApiEndpoint.get("systems", "/v1/systems").setUrlParams(S.SystemParams).addSuccess(S.Systems).annotateContext(about("The systems, and what one may there.")))
  .add(HttpApiEndpoint.get("queue", "/v1/queue").setUrlParams(S.LimitParams).addSuccess(S.Queue).annotateContext(about("Pulls that wait and run: one's own, for administrators all; and how many there are.")))
  .add(HttpApiEndpoint.get("audit", "/v1/audit").setUrlParams(S.AuditParams).addSuccess(S.AuditPage).annotateContext(about("Who did what, for administrators.")))
  .middleware(Authenticated)

const open = HttpApiGroup.make("open")
  .add(HttpApiEndpoint.get("version", "/v1/version").addSuccess(S.Version).annotateContext(about("The version.")))
  .add(HttpApiEndpoint.get("live", "/healthz").addSuccess(S.Health).annotateContext(about("The process lives.")))
  .add(HttpApiEndpoint.get("ready", "/readyz").addSuccess(S.Health).annotateContext(about("Catalogue and image paths can be used.")))
  .add(HttpApiEndpoint.get("metrics", "/metrics").addSuccess(text("text/plain; version=0.0.4; charset=utf-8")).annotateContext(about("Metrics for Prometheus.")))

export class Api extends HttpApi.make("shifter-gateway")
  .add(images)
  .add(pulls)
  .add(uploads)
  .add(upkeep)
  .add(tokens)
  .add(service)
  .add(open)
  .addError(errors)
  .annotateContext(
    OpenApi.annotations({
      title: "shifter-gateway",
      version: "1",
      description: "Images for supercomputers. Authenticate with `Authorization: Bearer TOKEN` or `Authorization: Munge CREDENTIAL`, a fresh credential for each request.",
      transform: (spec) => ({
        ...spec,
        components: {
          ...(spec["components"] as object | undefined),
          securitySchemes: {
            token: { type: "http", scheme: "bearer" },
            munge: { type: "apiKey", in: "header", name: "authorization", description: "Munge CREDENTIAL" }
          }
        },
        security: [{ token: [] }, { munge: [] }]
      })
    })
  ) {}
