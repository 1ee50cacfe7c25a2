/** Pulls of a gateway service inside this process, over the catalogue in one file, and those who ask for them. */
import * as Effect from 'effect/Effect'
import * as Either from 'effect/Either'
import * as Layer from 'effect/Layer'
import * as Logger from 'effect/Logger'
import * as LogLevel from 'effect/LogLevel'
import * as Redacted from 'effect/Redacted'
import type * as Scope from 'effect/Scope'
import * as Stream from 'effect/Stream'
import type { Gateway } from '../../src/core/Gateway.js'
import type { PullQueue, QueuedPull } from '../../src/core/PullQueue.js'
import * as Site from '../../src/core/Site.js'
import type { Identity } from '../../src/gateway/Identity.js'
import { Pulls } from '../../src/gateway/Pulls.js'
import * as Uploads from '../../src/core/Uploads.js'
import { catalogLayer, gatewayLayer, type GatewayParts, pullsLayer, serviceParts } from '../../src/live.js'

/** A gateway between the runner and the one that works, for tests that watch or disturb it. */
export type Between = Layer.Layer<Gateway, never, Gateway>

export interface PullsOptions {
  readonly parts?: GatewayParts
  readonly between?: Between
  readonly queue?: Layer.Layer<PullQueue, never, PullQueue>
}

/** The services of a configuration; nothing runs before `Pulls.run`. */
export const pullsOf = (config: unknown, { between, parts = {}, queue }: PullsOptions = {}) => {
  const site = Either.getOrThrow(Site.decode(config))
  const catalog = catalogLayer(site)
  const gateway = gatewayLayer(site, { ...serviceParts(site), catalog, index: catalog, ...parts })
  return pullsLayer(site).pipe(
    Layer.provideMerge(Uploads.layer(site)),
    Layer.provideMerge(between === undefined ? gateway : Layer.provide(between, gateway)),
    Layer.provideMerge(queue === undefined ? catalog : Layer.provideMerge(queue, catalog)),
    Layer.merge(Logger.minimumLogLevel(process.env["SHIFTER_TEST_LOGS"] === undefined ? LogLevel.None : LogLevel.All)),
  )
}

/** Somebody, with all that he may. */
export const somebody = (uid: number, more: { readonly password?: string; readonly gids?: readonly number[]; readonly systems?: readonly string[]; readonly scopes?: Identity['scopes'] } = {}): Identity => ({
  requester: { uid, gids: more.gids ?? [uid] },
  user: `user${uid}`,
  by: 'mock',
  label: 'mock',
  scopes: more.scopes ?? ['read', 'pull', 'manage'],
  systems: more.systems ?? ['test'],
  credentials: new Map(more.password === undefined ? [] : [['default', { username: `user${uid}`, password: Redacted.make(more.password) }]]),
})

/** Uses pulls that run, in a scope that ends with it. */
export const withPulls = <A, E>(config: unknown, options: PullsOptions, use: Effect.Effect<A, E, Pulls | PullQueue | Gateway | Scope.Scope>): Promise<A> =>
  Effect.runPromise(
    Effect.flatMap(Pulls, (pulls) => Effect.zipRight(pulls.run, use)).pipe(Effect.scoped, Effect.provide(pullsOf(config, options))),
  )

/** The end of a pull. */
export const ended = (identity: Identity, id: string) =>
  Effect.flatMap(Pulls, (pulls) => Stream.runLast(pulls.watch(identity, id))).pipe(Effect.flatten)

/** Asks for a pull and waits for its end. */
export const pulled = (identity: Identity, reference: string) =>
  Effect.flatMap(Pulls, (pulls) => Effect.flatMap(pulls.submit(identity, { system: 'test', reference }), ({ id }) => ended(identity, id)))

/** In one word how a pull ended, for comparisons. */
export const outcomeOf = ({ outcome, state }: Pick<QueuedPull, 'state'> & Partial<Pick<QueuedPull, 'outcome'>>): string => (outcome?._tag === 'Failed' ? outcome.code : state)
