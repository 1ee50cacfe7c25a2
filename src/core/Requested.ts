/**
 * The root that a job asks for, as the variables `SHIFTER_*` of its environment say it, to adapters and to `shifter` alike.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { errorFields, WlmError } from "./Errors.js"
import { formatLimits } from "./Limits.js"
import { type UdiRequest, volumesOf } from "./Wlm.js"

/** Undefined without an image. A value that nobody can have asked for fails with `JOB_INVALID`; what the node makes of the others is for it to say. */
export const fromEnvironment = (environment: Readonly<Record<string, string | undefined>>): Effect.Effect<UdiRequest | undefined, WlmError> =>
  Effect.gen(function* () {
    const { SHIFTER_IMAGE, SHIFTER_IMAGEREQUEST, SHIFTER_IMAGETYPE, SHIFTER_MODULE, SHIFTER_VOLUME } = environment
    const asked = given(SHIFTER_IMAGE) ?? given(SHIFTER_IMAGEREQUEST)
    if (asked === undefined) return undefined
    const image = given(SHIFTER_IMAGETYPE) === undefined || asked.startsWith(`${SHIFTER_IMAGETYPE}:`) ? asked : `${SHIFTER_IMAGETYPE}:${asked}`
    if (!/^[a-z][a-z-]*:./.test(image)) return yield* invalid("SHIFTER_IMAGE", image, "it is not TYPE:REFERENCE")
    if (Buffer.byteLength(image) > formatLimits.imageReferenceBytes) return yield* invalid("SHIFTER_IMAGE", asked, `it is longer than ${formatLimits.imageReferenceBytes} bytes`)
    const volumes = given(SHIFTER_VOLUME)?.split(";").filter((volume) => volume !== "") ?? []
    const modules = given(SHIFTER_MODULE) === undefined ? undefined : SHIFTER_MODULE === "none" ? [] : SHIFTER_MODULE?.split(",")
    for (const [variable, text] of [["SHIFTER_IMAGE", image], ["SHIFTER_VOLUME", SHIFTER_VOLUME], ["SHIFTER_MODULE", SHIFTER_MODULE]] as const) {
      // eslint-disable-next-line no-control-regex
      if (text !== undefined && /[\u0000-\u001f\u007f]/.test(text)) return yield* invalid(variable, text, "it holds control characters")
    }
    const odd = modules?.find((name) => !/^[A-Za-z0-9_.+-]{1,255}$/.test(name))
    if (odd !== undefined) return yield* invalid("SHIFTER_MODULE", SHIFTER_MODULE ?? "", `"${odd.slice(0, 100)}" is no name of a module`)
    return { image, volumes, modules, writable: [] }
  })

/** The variables with which a job's `shifter` starts what was asked for, with no options of its own. */
export const toEnvironment = (request: UdiRequest): Readonly<Record<string, string>> => {
  const colon = request.image.indexOf(":")
  const volumes = volumesOf(request)
  return {
    SHIFTER_IMAGETYPE: request.image.slice(0, colon),
    SHIFTER_IMAGE: request.image.slice(colon + 1),
    ...(volumes.length === 0 ? {} : { SHIFTER_VOLUME: volumes.join(";") }),
    ...(request.modules === undefined ? {} : { SHIFTER_MODULE: request.modules.join(",") || "none" })
  }
}

/** A variable that is set to something. */
const given = (text: string | undefined): string | undefined => (text === "" ? undefined : text)

const invalid = (variable: string, text: string, why: string) => new WlmError(errorFields("JOB_INVALID", `${variable} is "${text.slice(0, 200)}": ${why}`))
