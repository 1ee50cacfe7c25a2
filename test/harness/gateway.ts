/** Parts of a gateway for tests: a source whose images are whatever a test wants, and what a call failed with. */
import { writeSync } from 'node:fs'
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import { Digest, type Errors, Gateway, gatewayLayer, type GatewayParts, type Image, Site } from 'shifter-sdk'
import { tarBytes } from './tarWriter.js'
import type { TestSite } from './site.js'

/** What a promise was rejected with. */
export const failure = (promise: Promise<unknown>): Promise<Errors.GatewayError> =>
  promise.then(
    () => { throw new Error('it succeeded') },
    (error: unknown) => error as Errors.GatewayError,
  )

export interface MadeImage {
  /** What decides the id. */
  readonly content: string
  /** Runs before the stream is written; its failure is the stream's. */
  readonly before?: Effect.Effect<void, Errors.ImageError>
  readonly metadata?: Partial<Image.ResolvedImage['metadata']>
  /** Whether it is given only to credentials. */
  readonly isPrivate?: boolean
  readonly variant?: string
}

/** A source of `custom:` references. */
export const madeSource = (images: Readonly<Record<string, MadeImage>>): Image.ImageSource => ({
  types: ['custom'],
  refusesImport: () => undefined,
  resolve: (ref, { platform }) => {
    const { before = Effect.void, content, isPrivate = false, metadata, variant } = images[ref.reference] ?? { content: ref.reference }
    return Effect.succeed({
      sourceDigest: Digest.ofBytes(content),
      manifestDigest: undefined,
      platform,
      metadata: { env: [], entrypoint: [], command: [], labels: [], ...metadata },
      isPrivate,
      variant,
      blobs: [],
      open: Effect.succeed({
        write: (output: number) =>
          Effect.zipRight(before, Effect.sync(() => {
            writeSync(output, tarBytes([{ name: 'content', type: 'file', data: content }]))
            return { inodes: 2, dropped: 0 }
          })),
        fetched: Effect.void,
      }),
    })
  },
})

/** Uses the gateway of a site, with parts of its own, inside this process. */
export const withGateway = <A, E>(site: TestSite, parts: GatewayParts, use: (gateway: typeof Gateway.Gateway.Service) => Effect.Effect<A, E>): Promise<A> =>
  Effect.runPromise(Effect.provide(Effect.flatMap(Gateway.Gateway, use), gatewayLayer(Either.getOrThrow(Site.decode(site.config)), parts)))
