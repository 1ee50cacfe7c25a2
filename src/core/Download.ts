/**
 * Fetches a file from a URL that a user gave: of https alone, and from no address that only this network can reach, whatever the URL's name
 * resolves to and wherever it redirects. A transfer that is cut goes on from where it was, if the same bytes are still there.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { BlobFile } from "./BlobFile.js"
import { Digest } from "./Digest.js"
import { type ErrorCode, errorFields, GatewayError, ImageError, messageOf, printable, storageCode } from "./Errors.js"
import { strong } from "./http/EntityTag.js"
import { type Asked, Passing, patiently, retryAfter, transportFailure } from "./http/Patience.js"
import { Reach } from "./http/Reach.js"
import type { GivenFile } from "./Image.js"
import type { Import } from "./ImportSettings.js"

export interface DownloadOptions {
  /** Where it is written. */
  readonly file: string
  readonly settings: Import
  /** What its bytes must have, in hex. */
  readonly sha256: string | undefined
  /** Told how many bytes are here, and how many there will be, if that is known. */
  readonly onBytes: (received: number, bytes: number | undefined) => void
}

/** Fetches the file. Fails with `URL_REFUSED`, `URL_FAILED`, `LIMIT_EXCEEDED` or `DIGEST_MISMATCH`. */
export const download = (text: string, options: DownloadOptions): Effect.Effect<GivenFile, ImageError | GatewayError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const { settings } = options
    if (!settings.urls) {
      return yield* new GatewayError(errorFields("URL_REFUSED", "This site imports nothing from URLs", { remedy: 'Upload the file. The administrator can set "import.urls".' }))
    }
    const url = yield* allowed(URL.canParse(text) ? new URL(text) : undefined, "The URL")
    const ca = yield* authority(settings)
    const http = yield* HttpClient.HttpClient
    return yield* Effect.scoped(
      Effect.gen(function* () {
        const out = yield* Effect.acquireRelease(
          storing(options.file, () => BlobFile.open(options.file)),
          (opened) => Effect.promise(() => opened.close().catch(() => undefined))
        )
        return yield* new Transfer(http, url, ca, out, options).run
      })
    )
  })

const MAX_REDIRECTS = 5
const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
const momentary: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504])

const refused = (what: string) => new GatewayError(errorFields("URL_REFUSED", what))

/** A URL that may be asked. Its path and query may be a secret, and are told to nobody. */
const allowed = (url: URL | undefined, what: string): Effect.Effect<URL, GatewayError> => {
  if (url === undefined) return Effect.fail(refused(`${what} is none`))
  if (url.protocol !== "https:") return Effect.fail(refused(`${what} is of ${printable(url.protocol)}, not of https:`))
  if (url.username !== "" || url.password !== "") return Effect.fail(refused(`${what} holds a login, which logs would show`))
  return Effect.succeed(url)
}

const authority = ({ urlCa }: Import): Effect.Effect<string | undefined, GatewayError> =>
  urlCa === undefined
    ? Effect.succeed(undefined)
    : Effect.try({
        try: () => readFileSync(urlCa, "utf8"),
        catch: (error) => new GatewayError(errorFields("CONFIG_INVALID", `The certificate file ${urlCa} can't be read: ${messageOf(error)}`, { cause: error }))
      })

const asked: Asked = {
  who: "The URL's host",
  refused: "URL_REFUSED",
  timeout: "URL_FAILED",
  unreachable: "URL_FAILED",
  remedies: (host) => ({
    refused: `Upload the file. If it should, the administrator can name "${host}" in "import.urlHosts".`,
    notSecure: "It must speak https.",
    unknownAuthority: 'If its certificate is of a private authority, the administrator can name that in "import.urlCa".'
  })
}

const storing = <A>(file: string, f: () => Promise<A>): Effect.Effect<A, ImageError> =>
  Effect.tryPromise({
    try: f,
    catch: (error) => (error instanceof ImageError ? error : new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be written: ${messageOf(error)}`, { cause: error })))
  })

type Fault = ImageError | GatewayError | Passing

/** One transfer into one file. */
class Transfer {
  private received = 0
  private bytes: number | undefined
  /** Strong entity tag of what is here, without which nothing is joined to it. */
  private etag: string | undefined

  constructor(
    private readonly http: HttpClient.HttpClient,
    private readonly url: URL,
    private readonly ca: string | undefined,
    private readonly out: BlobFile,
    private readonly options: DownloadOptions
  ) {}

  get run(): Effect.Effect<GivenFile, ImageError | GatewayError> {
    return Effect.gen(this, function* () {
      const { file, sha256 } = this.options
      yield* patiently(Effect.scoped(this.attempt), { progress: () => this.received })
      const actual = yield* storing(file, () => this.out.finish(this.received))
      if (sha256 !== undefined && sha256 !== actual) {
        return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The file of ${this.url.host} has sha256:${actual}, not sha256:${sha256}`, { remedy: "Check the URL and the hash." }))
      }
      return { path: file, bytes: this.received, digest: Digest.make(`sha256:${actual}`) }
    })
  }

  private failed(what: string, code: ErrorCode = "URL_FAILED"): ImageError {
    return new ImageError(errorFields(code, `${this.url.host} ${what}`))
  }

  private get attempt(): Effect.Effect<void, Fault, Scope.Scope> {
    return Effect.gen(this, function* () {
      if (this.received > 0 && this.etag === undefined) yield* this.anew
      const from = this.received
      const answer = yield* this.follow(this.url, from > 0 && this.etag !== undefined ? { range: `bytes=${from}-`, "if-range": this.etag } : {})
      const { headers, status } = answer
      const encoding = headers["content-encoding"] ?? "identity"
      if (encoding !== "identity") return yield* this.failed(`sent the file with Content-Encoding "${printable(encoding)}"`)
      if (status === 206) {
        const [, start, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers["content-range"] ?? "") ?? []
        if (from === 0 || Number(start) !== from || (total !== "*" && Number(total) !== this.bytes) || (headers["etag"] !== undefined && headers["etag"] !== this.etag)) {
          yield* this.anew
          return yield* new Passing({ error: this.failed("gave another part of the file than it was asked for") })
        }
      } else {
        if (from > 0) yield* this.anew
        this.etag = strong(headers["etag"])
        this.bytes = /^\d{1,15}$/.test(headers["content-length"] ?? "") ? Number(headers["content-length"]) : undefined
        if (this.bytes !== undefined && this.bytes > this.options.settings.uploadBytes) return yield* this.tooLarge(this.bytes)
      }
      yield* this.take(answer)
      if (this.bytes !== undefined && this.received < this.bytes) {
        return yield* new Passing({ error: this.failed(`ended after ${this.received} of ${this.bytes} bytes`) })
      }
    })
  }

  private tooLarge(bytes?: number): ImageError {
    const { uploadBytes } = this.options.settings
    return this.failed(`has a file of ${bytes === undefined ? "" : `${bytes} bytes, `}more than ${uploadBytes}${bytes === undefined ? " bytes" : ""}`, "LIMIT_EXCEEDED")
  }

  /** Forgets what is here. */
  private get anew(): Effect.Effect<void, ImageError> {
    return Effect.map(storing(this.options.file, () => this.out.restart()), () => {
      this.received = 0
      this.etag = undefined
      this.bytes = undefined
    })
  }

  private send(url: URL, headers: Readonly<Record<string, string>>): Effect.Effect<HttpClientResponse.HttpClientResponse, ImageError | Passing, Scope.Scope> {
    const isNamed = this.options.settings.urlHosts.includes(url.host)
    return this.http.execute(HttpClientRequest.get(url.href, { headers: { ...headers, accept: "*/*", "user-agent": "shifter-sdk", "accept-encoding": "identity" } })).pipe(
      Effect.provideService(Reach, { kinds: isNamed ? "any" : [], ca: isNamed ? this.ca : undefined }),
      Effect.mapError((error) => transportFailure(url, error, undefined, asked))
    )
  }

  private follow(url: URL, headers: Readonly<Record<string, string>>, hops = 0): Effect.Effect<HttpClientResponse.HttpClientResponse, Fault, Scope.Scope> {
    return Effect.gen(this, function* () {
      const answer = yield* this.send(url, headers)
      if (answer.status === 200 || answer.status === 206) return answer
      if (redirects.has(answer.status)) {
        if (hops >= MAX_REDIRECTS) return yield* refused(`${this.url.host} redirects more than ${MAX_REDIRECTS} times`)
        const location = answer.headers["location"]
        const target = location !== undefined && URL.canParse(location, url.href) ? new URL(location, url) : undefined
        return yield* this.follow(yield* allowed(target, `What ${url.host} redirects to`), headers, hops + 1)
      }
      // What the answer says may come from inside a network, and is not repeated.
      const error = this.failed(url.host === this.url.host ? `answered with HTTP ${answer.status}` : `redirects to ${url.host}, which answered with HTTP ${answer.status}`)
      if (!momentary.has(answer.status)) return yield* error
      return yield* new Passing({ error, afterMillis: retryAfter(answer.headers["retry-after"], yield* Clock.currentTimeMillis) })
    })
  }

  private take(answer: HttpClientResponse.HttpClientResponse): Effect.Effect<void, ImageError | Passing> {
    const { file, onBytes, settings } = this.options
    return Effect.gen(this, function* () {
      yield* storing(file, () => this.out.follow(this.received))
      const writer = this.out.writer(this.received)
      const receive = async (chunks: Chunk.Chunk<Uint8Array>) => {
        for (const chunk of chunks) {
          if (this.received + chunk.length > settings.uploadBytes) throw this.tooLarge()
          await writer.write(chunk)
          this.received += chunk.length
        }
        onBytes(this.received, this.bytes)
      }
      yield* answer.stream.pipe(
        Stream.mapError((error) => transportFailure(this.url, error, `${this.url.host} broke off`, asked)),
        Stream.runForEachChunk((chunks) => Effect.uninterruptible(storing(file, () => receive(chunks)))),
        // What has come is kept, however it ended.
        Effect.ensuring(Effect.promise(() => writer.flush().catch(() => undefined)))
      )
      yield* storing(file, () => writer.flush())
    })
  }
}
