/**
 * The hosts of systems: one connection to each, shared by all that is done at once, closed when it is idle. Where a host does not answer the next
 * one is asked, and what a lost connection left undone is done again.
 *
 * @module
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import { errorFields, TransportError } from "../../core/Errors.js"
import type { Fault, FileFault } from "../../core/ImagePath.js"
import type { System } from "../../core/Site.js"
import { address, type SshSettings } from "../../core/SshSettings.js"
import { type Broken, connect, hostOf, type Session, Target, type Unreachable } from "./Connection.js"
import * as Throttle from "./Throttle.js"

/** A system that is reached by ssh. */
export interface Reached {
  readonly system: System
  readonly ssh: SshSettings
  readonly throttle: Throttle.Throttle
  /** Uses a connection. What it breaks off is tried again; `again` says that it may have been done already, though its answer was lost. */
  readonly use: <A>(act: (session: Session, again: boolean) => Effect.Effect<A, FileFault | TransportError | Broken>) => Effect.Effect<A, Fault>
}

const IDLE = Duration.seconds(30)
/** Attempts without progress, and the wait after the first one; each next wait is twice as long. */
const ATTEMPTS = 6
const FIRST_WAIT = Duration.millis(250)

/** No host of a system can be reached. */
class NoneReached extends Data.TaggedError("NoneReached")<{ readonly each: ReadonlyArray<Unreachable> }> {}

/** Gives systems their hosts. Connections last for as long as the scope, at most. */
export const make: Effect.Effect<(system: System, ssh: SshSettings) => Reached, never, Scope.Scope> = Effect.gen(function* () {
  const connections: RcMap.RcMap<Target, Session, TransportError | Unreachable> = yield* RcMap.make({
    lookup: (target: Target): Effect.Effect<Session, TransportError | Unreachable, Scope.Scope> => {
      const forget: Effect.Effect<void> = Effect.suspend(() => RcMap.invalidate(connections, target))
      return Effect.onError(connect(target, forget), () => forget)
    },
    idleTimeToLive: IDLE
  })
  const known = new WeakMap<SshSettings, { readonly throttle: Throttle.Throttle; preferred: number }>()

  return (system, ssh) => {
    const state = known.get(ssh) ?? { throttle: Throttle.make(ssh.bytesPerSecond), preferred: 0 }
    known.set(ssh, state)
    const targets = ssh.hosts.map((host) =>
      new Target({ ...address(host), username: ssh.username, keyFile: ssh.keyFile, agent: ssh.agent, passphraseFile: ssh.passphraseFile, knownHosts: ssh.knownHosts }))

    /** The host that answered last, else the first of the others that does. A refusal is an answer: nobody else is asked then. */
    const session = Effect.gen(function* () {
      const silent: Array<Unreachable> = []
      for (const [turn] of targets.entries()) {
        const index = (state.preferred + turn) % targets.length
        const target = targets[index]
        if (target === undefined) continue
        const found = yield* RcMap.get(connections, target).pipe(
          Effect.catchTag("Unreachable", (unreachable) => {
            silent.push(unreachable)
            return Effect.succeed(undefined)
          })
        )
        if (found === undefined) continue
        state.preferred = index
        return found
      }
      return yield* new NoneReached({ each: silent })
    })

    const use = <A>(act: (found: Session, again: boolean) => Effect.Effect<A, FileFault | TransportError | Broken>): Effect.Effect<A, Fault> => {
      const attempt = (failures: number): Effect.Effect<A, Fault> =>
        Effect.scoped(Effect.flatMap(session, (found) => act(found, failures > 0))).pipe(
          Effect.catchTags({
            Broken: (broken) => {
              // The next host, where there is one: the way to this one may be gone.
              state.preferred = (targets.findIndex((target) => hostOf(target) === broken.host) + 1) % targets.length
              return next(broken.progressed === true ? 1 : failures + 1, () => cut(system, broken))
            },
            NoneReached: (none) => (failures === 0 ? unreachable(system, none) : next(failures + 1, () => unreachable(system, none)))
          })
        )
      const next = (failures: number, failed: () => TransportError) =>
        failures >= ATTEMPTS ? failed() : Effect.delay(Effect.suspend(() => attempt(failures)), Duration.times(FIRST_WAIT, 2 ** (failures - 1)))
      return attempt(0)
    }
    return { system, ssh, throttle: state.throttle, use }
  }
})

const cut = (system: System, { host, why }: Broken) =>
  new TransportError(errorFields("SSH_CUT", `The connection to ${host} of ${system.name} was lost ${ATTEMPTS} times without getting further: ${why}`))

const unreachable = (system: System, { each }: NoneReached) =>
  new TransportError(errorFields("SSH_UNREACHABLE", `No host of ${system.name} answers: ${each.map(({ host, why }) => `${host}: ${why}`).join("; ")}`))
