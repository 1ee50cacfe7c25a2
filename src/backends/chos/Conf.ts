/**
 * How CHOS starts a shell: `chos.conf`, with the variables that it keeps (`%ENV`) and how it behaves (`%BEH`).
 *
 * @module
 */
import * as Either from "effect/Either"
import { errorFields, ImageError } from "../../core/Errors.js"

export interface Conf {
  /** Names of variables that CHOS keeps when it starts a login shell; undefined where the file does not say. */
  readonly keeps: ReadonlyArray<string> | undefined
  /** Whether it starts bash as a login shell. */
  readonly isLogin: boolean
}

/** Of a site without the file. */
export const none: Conf = { keeps: undefined, isLogin: false }

/** Reads the text of the file; `file` is its name, for messages. */
export const parse = (text: string, file: string): Either.Either<Conf, ImageError> => {
  const keeps: Array<string> = []
  let section = ""
  let isLogin = false
  let hasKeeps = false
  for (const [index, whole] of text.split("\n").entries()) {
    const line = whole.trim()
    if (line === "" || line.startsWith("#")) continue
    if (line.startsWith("%")) {
      section = line
      hasKeeps ||= section === "%ENV"
    } else if (section === "%ENV") {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(line)) return Either.left(new ImageError(errorFields("CONFIG_INVALID", `Line ${index + 1} of ${file} is no name of a variable`)))
      if (!keeps.includes(line)) keeps.push(line)
    } else if (section === "%BEH" && line === "BASHLOGIN") isLogin = true
  }
  return Either.right({ keeps: hasKeeps ? keeps : undefined, isLogin })
}
