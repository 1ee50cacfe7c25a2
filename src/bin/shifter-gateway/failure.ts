/**
 * How a command that can't be done ends: one line on standard error, or JSON on standard output, and the exit status of the table.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Errors from "../../core/Errors.js"

/** A mistake in the command line. */
export const usageFault = (what: string, remedy?: string) => new Errors.FormatError(Errors.errorFields("USAGE", what, { remedy: remedy ?? "See shifter-gateway --help." }))

/** Tells an error; the exit status it deserves. */
export const failed = (error: unknown, json: boolean): number => {
  const { code, message, reason, remedy, what }: Errors.ErrorFields = Errors.isShifterError(error) ? error : Errors.errorFields("INTERNAL", `Unexpected: ${Errors.messageOf(error)}`)
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, reason, what, remedy, message } })}\n`)
  else process.stderr.write(`shifter-gateway: ${code}: ${message}\n`)
  return Errors.errorTable[code].exit
}

/** Runs a command to its end; its exit status. */
export const ran = async (effect: Effect.Effect<number, Errors.ShifterError>, json: boolean): Promise<number> => {
  const exit = await Effect.runPromiseExit(effect)
  return Exit.isSuccess(exit) ? exit.value : failed(Cause.squash(exit.cause), json)
}
