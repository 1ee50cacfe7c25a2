/**
 * Tells what a disk image is by its content, never by its name.
 *
 * @module
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ImageError } from "../../core/Errors.js"
import type { Vm } from "../../core/VmSettings.js"
import { type Container, type Place, type Recognizer, refusal } from "./Container.js"
import { qcow2 } from "./Qcow2.js"
import { raw } from "./Raw.js"
import { vdi } from "./Vdi.js"
import { vhd } from "./Vhd.js"
import { vhdx } from "./Vhdx.js"
import { vmdk } from "./Vmdk.js"

/** Those with a mark at their beginning first; raw is what is left. */
const recognizers: ReadonlyArray<Recognizer> = [qcow2, vmdk, vdi, vhdx, vhd, raw]

/** The format of a disk image. Fails where it is none, names another file, is larger than a site reads, or has tables that lead nowhere. */
export const recognize = (place: Place, { seconds, virtualBytes }: Pick<Vm, "seconds" | "virtualBytes">): Effect.Effect<Container, ImageError> =>
  Effect.gen(function* () {
    for (const recognizer of recognizers) {
      const found = yield* recognizer(place)
      if (found === undefined) continue
      if (found.virtualBytes > virtualBytes) {
        return yield* refusal(place, "LIMIT_EXCEEDED", `has ${found.virtualBytes} bytes, more than ${virtualBytes}`, 'Ask the administrator to raise "vm.virtualBytes", or give a smaller disk.')
      }
      yield* Effect.timeoutFail(found.tables ?? Effect.void, {
        duration: Duration.seconds(seconds),
        onTimeout: () => refusal(place, "LIMIT_EXCEEDED", `has tables that could not be looked through within ${seconds} seconds`, 'Ask the administrator to raise "vm.seconds".')
      })
      return found
    }
    return yield* refusal(place, "DISK_INVALID", "is no disk image that is known: it has no partition table, no file system and no header of a format", "Give a raw, qcow2, VMDK, VDI, VHD or VHDX disk, or an OVA.")
  })
