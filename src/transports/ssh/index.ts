/**
 * The transport to an image path that another machine has mounted, over ssh: files by SFTP, their hashes by `sha256sum` over there.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { rm } from "node:fs/promises"
import * as nodePath from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { errorFields, TransportError } from "../../core/Errors.js"
import { type Files, transport } from "../../core/ImagePath.js"
import type { System } from "../../core/Site.js"
import { Transport } from "../../core/Transport.js"
import * as Hosts from "./Hosts.js"
import * as Remote from "./Remote.js"
import { canStripe, fetch, reading, send } from "./Transfer.js"

export const layer = Layer.scoped(
  Transport,
  Effect.map(Hosts.make, (reach) => {
    const reached = (system: System) => (system.ssh === undefined ? new TransportError(errorFields("INTERNAL", `The system ${system.name} is not reached by ssh`)) : Effect.succeed(reach(system, system.ssh)))
    return transport({
      files: (system) => filesOf(system, (act) => Effect.flatMap(reached(system), ({ use }) => use(act))),
      ready: (system) => Effect.flatMap(reached(system), canStripe),
      stage: (_, staged, scratch) => {
        const file = nodePath.join(scratch, nodePath.basename(staged))
        const removed = Effect.promise(() => rm(file, { force: true }).catch(() => undefined))
        return Effect.acquireRelease(Effect.as(removed, file), () => removed)
      },
      carry: (system, file, staged, image) => Effect.flatMap(reached(system), (hosts) => send(hosts, file, staged, image)),
      fetch: (system, file, scratch) =>
        Effect.flatMap(reached(system), (hosts) => fetch(hosts, file, nodePath.join(scratch, `.${nodePath.basename(file)}.${randomBytes(6).toString("hex")}.part`))),
      open: (system, file) => Effect.flatMap(reached(system), (hosts) => reading(hosts, file))
    })
  })
)

/** Each operation on whatever connection there is. */
const filesOf = (system: System, use: Hosts.Reached["use"]): Files => ({
  me: use(({ me }) => Effect.succeed(me)),
  root: use((session) => Remote.target(session, system.imagePath)),
  attributes: (path) => use((session) => Remote.attributes(session, path)),
  modified: (path) => use((session) => Remote.modified(session, path)),
  entries: (directory) => use((session) => Remote.entries(session, directory)),
  read: (file, limit) => use((session) => Remote.read(session, file, limit)),
  write: (file, bytes, mode, owner) => use((session, again) => Remote.orFull(session, system.imagePath, Remote.write(session, again, file, bytes, mode, owner))),
  rename: (from, to) => use((session, again) => Remote.rename(session, again, from, to)),
  link: (from, to) => use((session) => Remote.orFull(session, system.imagePath, Remote.link(session, from, to))),
  unlink: (file) =>
    // Looked for first: were the answer to its removal lost, nobody could tell whether it had been there.
    Effect.flatMap(use((session) => Remote.attributes(session, file)), (found) =>
      found === undefined ? Effect.succeed(false) : use((session, again) => Effect.map(Remote.unlink(session, file), (removed) => removed || again))),
  ownDirectory: (directory, owner) => use((session) => Remote.orFull(session, system.imagePath, Remote.ownDirectory(session, directory, owner))),
  own: (file, mode, owner) => use((session) => Remote.own(session, file, mode, owner)),
  sync: (directory) => use((session) => Remote.syncDirectory(session, directory)),
  holds: (file, image) => use((session) => Remote.holds(session, file, image))
})
