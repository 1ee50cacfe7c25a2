/** The removal of an image by its id, beside those who convert it and those who want it. */
import * as Context from 'effect/Context'
import * as Deferred from 'effect/Deferred'
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import * as Layer from 'effect/Layer'
import { localTransport, type ProgressEvent, Transport } from 'shifter-sdk'
import { describe, expect, it } from 'vitest'
import { madeSource, withGateway } from '../harness/gateway.js'
import { expectSound, leftovers } from '../harness/soundness.js'
import { testSite } from '../harness/site.js'
import { useWorkspace } from '../harness/workspace.js'

const work = useWorkspace('removal')
const pause = () => ({ begun: Effect.runSync(Deferred.make<undefined>()), go: Effect.runSync(Deferred.make<undefined>()) })
const at = ({ begun, go }: ReturnType<typeof pause>) => Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(go))

describe('an image', () => {
  it('that is being published is not removed under it', async () => {
    const site = testSite(work.at('publishing'))
    const { begun, go } = pause()
    await withGateway(site, { sources: [madeSource({ a: { content: 'a', before: at({ begun, go }) } })] }, (gateway) => Effect.gen(function* () {
      let id = ''
      const onProgress = (event: ProgressEvent) => { if (event._tag === 'Resolved') id = event.id }
      const pulling = yield* Effect.fork(gateway.pull({ reference: 'custom:a', onProgress }))
      yield* Deferred.await(begun)
      const { code, remedy } = yield* Effect.flip(gateway.remove(`id:${id}`))
      expect([code, remedy]).toEqual(['LEASE_LOST', 'Ask again in a moment.'])
      yield* Deferred.succeed(go, undefined)
      expect((yield* Fiber.join(pulling)).id).toBe(id)
      expect((yield* gateway.record(`id:${id}`)).id).toBe(id)
      expect(yield* gateway.remove(`id:${id}`)).toEqual({ id, names: ['custom:a:latest'], image: true })
      expect((yield* Effect.flip(gateway.remove(`id:${id}`))).code).toBe('IMAGE_NOT_FOUND')
    }))
    expect(leftovers(site)).toEqual([])
  })

  it('that is being removed is waited for by who pulls it, and is there whole then', async () => {
    const site = testSite(work.at('removing'))
    const { begun, go } = pause()
    const transport = Layer.map(localTransport, (context) => {
      const real = Context.get(context, Transport.Transport)
      return Context.add(context, Transport.Transport, Transport.Transport.of({ ...real, remove: (...args) => Effect.zipRight(at({ begun, go }), real.remove(...args)) }))
    })
    await withGateway(site, { sources: [madeSource({})], transport }, (gateway) => Effect.gen(function* () {
      const { id } = yield* gateway.pull({ reference: 'custom:a' })
      const removing = yield* Effect.fork(gateway.remove(`id:${id}`))
      yield* Deferred.await(begun)
      const waits = yield* Deferred.make<undefined>()
      const pulling = yield* Effect.fork(gateway.pull({ reference: 'custom:a', onProgress: ({ _tag }) => { if (_tag === 'Waiting') Deferred.unsafeDone(waits, Effect.succeed(undefined)) } }))
      yield* Deferred.await(waits)
      yield* Deferred.succeed(go, undefined)
      expect(yield* Fiber.join(removing)).toMatchObject({ image: true })
      expect((yield* Fiber.join(pulling)).id).toBe(id)
      expect((yield* gateway.record('custom:a')).id).toBe(id)
    }))
    await expectSound(site, 'custom:a', 'removed and pulled')
    expect(leftovers(site)).toEqual([])
  })
})
