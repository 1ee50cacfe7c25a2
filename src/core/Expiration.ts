/**
 * Times as the reference's configuration writes them: `DAYS:HOURS:MINUTES:SECONDS`.
 *
 * @module
 */

const units = [24 * 3600, 3600, 60, 1]

/** The seconds of a time; undefined when it is malformed, or longer than a century. */
export const parse = (text: string): number | undefined => {
  if (!/^[0-9]{1,6}(?::[0-9]{1,10}){3}$/.test(text)) return undefined
  const seconds = text.split(":").reduce((sum, part, at) => sum + Number(part) * (units[at] ?? 0), 0)
  return seconds <= 100 * 365 * 24 * 3600 ? seconds : undefined
}
