/** Programs that are left before they have been listened to. */
import * as Effect from 'effect/Effect'
import * as Fiber from 'effect/Fiber'
import { describe, expect, it, vi } from 'vitest'
import { layerTar2sqfs, Packer } from '../../src/core/Packer.js'
import * as Process from '../../src/core/Process.js'

describe('a program', () => {
  it.each([
    ['that has printed and ended', 'printf said'],
    ['that has printed and goes on', 'printf said; exec sleep 600'],
    ['that has printed more than a pipe holds', 'exec head -c 1000000 /dev/zero'],
  ])('%s is left by whoever has read nothing of it', async (_, script) => {
    await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const child = yield* Process.scoped('sh', ['-c', script], { stdin: 'ignore', stdout: 'pipe' })
          yield* Effect.promise(() => vi.waitFor(() => expect(child.stdout?.readableLength).toBeGreaterThan(0), { timeout: 10_000 }))
        }),
      ),
    )
  })
})

describe('the packer', () => {
  it('is asked what it is by the next, when the first who asked has left', async () => {
    const profile = await Effect.runPromise(
      Effect.gen(function* () {
        const packer = yield* Packer
        const first = yield* Effect.fork(packer.profile)
        // It has begun, and no program has answered yet.
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(first)
        return yield* packer.profile
      }).pipe(Effect.provide(layerTar2sqfs)),
    )
    expect(profile.packer).toMatch(/^tar2sqfs \d/)
  })
})
