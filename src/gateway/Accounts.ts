/**
 * The service `Accounts`: what the account database of this machine says of users and their groups. Answers are kept for a minute, since a
 * directory service may be slow and every request asks.
 *
 * @module
 */
import * as Cache from "effect/Cache"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { errorFields, GatewayError, printable } from "../core/Errors.js"
import * as Process from "../core/Process.js"

export interface Account {
  readonly uid: number
  /** Undefined where this machine does not know the uid. */
  readonly name: string | undefined
  /** All his groups, the primary one first. */
  readonly gids: ReadonlyArray<number>
}

export class Accounts extends Context.Tag("shifter-sdk/Accounts")<
  Accounts,
  {
    /** The account of a uid; one that this machine does not know has no name and no groups. */
    readonly ofUid: (uid: number) => Effect.Effect<Account, GatewayError>
    /** The uid of a name; undefined: there is none. */
    readonly uidOf: (name: string) => Effect.Effect<number | undefined, GatewayError>
  }
>() {}

const KEPT = 4096
const AT_ONCE = 8
const SECONDS = 10
/** `getent` says so of a key that is not there. */
const NO_SUCH_KEY = 2

export const layer: Layer.Layer<Accounts> = Layer.effect(
  Accounts,
  Effect.gen(function* () {
    const slots = yield* Effect.makeSemaphore(AT_ONCE)
    const asked = (program: string, args: ReadonlyArray<string>) =>
      Process.output(program, args).pipe(
        Effect.timeoutFail({ duration: `${SECONDS} seconds`, onTimeout: () => new Error(`${program} did not answer within ${SECONDS} s`) }),
        slots.withPermits(1),
        Effect.mapError((error) => unavailable(error.message))
      )
    const passwd = (key: string) =>
      Effect.flatMap(asked("getent", ["passwd", "--", key]), ({ status, stderr, stdout }) => {
        if (status === NO_SUCH_KEY) return Effect.succeed(undefined)
        const [name = "", , uid = "", gid = ""] = stdout.split("\n")[0]?.split(":") ?? []
        return status === 0 && name !== "" && number(uid) !== undefined && number(gid) !== undefined
          ? Effect.succeed({ name, uid: Number(uid), gid: Number(gid) })
          : Effect.fail(unavailable(`getent ended with status ${status}: ${stderr}`))
      })
    const groups = (name: string) =>
      Effect.flatMap(asked("id", ["-G", "--", name]), ({ status, stderr, stdout }) => {
        const gids = stdout.trim().split(" ").map(number)
        return status === 0 && gids.every((gid) => gid !== undefined)
          ? Effect.succeed(gids)
          : Effect.fail(unavailable(`id ended with status ${status}: ${stderr}`))
      })
    const byUid = yield* Cache.make({
      capacity: KEPT,
      timeToLive: "1 minute",
      lookup: (uid: number) =>
        Effect.gen(function* () {
          const found = yield* passwd(String(uid))
          if (found === undefined || found.uid !== uid) return { uid, name: undefined, gids: [] }
          return { uid, name: found.name, gids: [...new Set([found.gid, ...(yield* groups(found.name))])] }
        })
    })
    const byName = yield* Cache.make({ capacity: KEPT, timeToLive: "1 minute", lookup: (name: string) => Effect.map(passwd(name), (found) => (found?.name === name ? found.uid : undefined)) })
    // What could not be asked is asked again.
    const fresh = <K, A>(cache: Cache.Cache<K, A, GatewayError>, key: K) => Effect.tapError(cache.get(key), () => cache.invalidate(key))
    return Accounts.of({ ofUid: (uid) => fresh(byUid, uid), uidOf: (name) => fresh(byName, name) })
  })
)

const number = (text: string): number | undefined => (/^(0|[1-9][0-9]{0,9})$/.test(text) ? Number(text) : undefined)

const unavailable = (what: string) =>
  new GatewayError(errorFields("RESOURCE", `The account database can't be asked: ${printable(what)}`, { remedy: "Ask the administrator of the gateway." }))
