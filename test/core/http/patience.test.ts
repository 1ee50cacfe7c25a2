/** What is tried again, when, and how often. */
import * as Duration from 'effect/Duration'
import * as Effect from 'effect/Effect'
import * as Exit from 'effect/Exit'
import * as Fiber from 'effect/Fiber'
import * as TestClock from 'effect/TestClock'
import * as TestContext from 'effect/TestContext'
import { describe, expect, it } from 'vitest'
import { Passing, patiently, retryAfter } from '../../../src/core/http/Patience.js'
import { errorFields, ImageError } from '../../../src/core/Errors.js'

const error = new ImageError(errorFields('REGISTRY_ERROR', 'it failed'))
/** Runs with a clock that goes as fast as it can. */
const hurried = <A>(effect: Effect.Effect<A, ImageError>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust(Duration.hours(1))
    return yield* Fiber.await(fiber)
  }).pipe(Effect.provide(TestContext.TestContext), Effect.runPromise)

describe('patience', () => {
  it('ends after four tries, each later than the one before', async () => {
    const waits: number[] = []
    let tries = 0
    const exit = await hurried(patiently(Effect.suspend(() => { tries += 1; return new Passing({ error }) }), { waiting: (_, millis) => waits.push(millis) }))
    expect(exit).toEqual(Exit.fail(error))
    expect(tries).toBe(4)
    expect(waits.length).toBe(3)
    for (const [i, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(300 * 2 ** i * 0.7)
      expect(wait).toBeLessThanOrEqual(300 * 2 ** i * 1.3)
    }
  })

  it('counts anew when much has come, and not for a byte a connection', async () => {
    let received = 0
    let tries = 0
    const moving = (bytes: number, enough: number) => Effect.suspend(() => {
      tries += 1
      received += bytes
      return tries === enough ? Effect.void : new Passing({ error })
    })
    expect(Exit.isSuccess(await hurried(patiently(moving(2_000_000, 50), { progress: () => received })))).toBe(true)
    tries = 0
    expect(Exit.isSuccess(await hurried(patiently(moving(1, 50), { progress: () => received })))).toBe(false)
    expect(tries).toBe(4)
  })

  it('waits as long as it is told, up to a minute', async () => {
    const waits: number[] = []
    await hurried(patiently(new Passing({ error, afterMillis: 42_000 }), { waiting: (_, millis) => waits.push(millis) }))
    expect(waits).toEqual([42_000, 42_000, 42_000])
    waits.length = 0
    await hurried(patiently(new Passing({ error, afterMillis: 61_000 }), { waiting: (_, millis) => waits.push(millis) }))
    expect(waits).toEqual([])
  })

  it.each([
    ['42', 42_000], ['0', 0], [' 7 ', 7000], ['Mon, 23 Nov 2026 12:01:00 GMT', 60_000], ['Mon, 23 Nov 2026 11:00:00 GMT', 0],
    [undefined, undefined], ['', undefined], ['-1', undefined], ['1e9', undefined], ['99999999999', undefined], ['soon', undefined],
  ])('reads Retry-After: %s', (header, millis) => expect(retryAfter(header, Date.parse('2026-11-23T12:00:00Z'))).toBe(millis))
})
