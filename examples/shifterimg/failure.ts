/**
 * How a command that can't be done ends: one line on standard error, or JSON on standard output, and the exit status of the table.
 *
 * @module
 */
import { Errors, type ShifterError } from "shifter-sdk"

/** A mistake in the command line. */
export const usageFault = (what: string, remedy?: string) => new Errors.FormatError(Errors.errorFields("USAGE", what, { remedy: remedy ?? "See shifterimg --help." }))

/** Tells an error; the exit status it deserves. */
export const failed = (error: unknown, json: boolean): number => {
  const known: Pick<ShifterError, "code" | "message" | "reason" | "what" | "remedy"> = Errors.isShifterError(error)
    ? error
    : Errors.errorFields("INTERNAL", `Unexpected: ${Errors.messageOf(error)}`)
  const { code, message, reason, what, remedy } = known
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, reason, what, remedy, message } })}\n`)
  else process.stderr.write(`shifterimg: ${code}: ${message}\n`)
  return Errors.errorTable[code].exit
}

/** What it is when the result can't be written. */
export const outputFault = (error: Error) =>
  new Errors.FormatError(
    Errors.errorFields(Errors.storageCode(error, "INTERNAL"), `Standard output can't be written: ${error.message}`, { remedy: "Check where it goes, and ask again." })
  )
