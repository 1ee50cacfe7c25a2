/**
 * What the options of `import` say about running the image: a file says nothing of that.
 *
 * @module
 */
import { usageFault } from "./failure.js"
import { safe } from "./text.js"

export interface StatedMetadata {
  readonly env?: ReadonlyArray<string>
  readonly entrypoint?: ReadonlyArray<string>
  readonly command?: ReadonlyArray<string>
  readonly workdir?: string
  readonly labels?: ReadonlyArray<readonly [string, string]>
}

interface Values {
  readonly env?: ReadonlyArray<string> | undefined
  readonly entrypoint?: string | undefined
  readonly command?: string | undefined
  readonly workdir?: string | undefined
  readonly label?: ReadonlyArray<string> | undefined
}

export const statedMetadata = ({ command, entrypoint, env, label, workdir }: Values): StatedMetadata => ({
  ...(env === undefined ? {} : { env }),
  ...(entrypoint === undefined ? {} : { entrypoint: words("entrypoint", entrypoint) }),
  ...(command === undefined ? {} : { command: words("command", command) }),
  ...(workdir === undefined ? {} : { workdir }),
  ...(label === undefined ? {} : { labels: label.map(pair) })
})

/** A program with its arguments is a list: a text would have to be taken apart, as some shell would. */
const words = (option: string, text: string): ReadonlyArray<string> => {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    parsed = undefined
  }
  if (!Array.isArray(parsed) || parsed.length === 0 || !parsed.every((word) => typeof word === "string")) {
    throw usageFault(`--${option}: ${safe(text)} is no list of texts in JSON`, `Write it like '["/bin/app", "--option"]'.`)
  }
  return parsed
}

const pair = (text: string): readonly [string, string] => {
  const equals = text.indexOf("=")
  if (equals < 1) throw usageFault(`--label: ${safe(text)} is not NAME=VALUE`)
  return [text.slice(0, equals), text.slice(equals + 1)]
}
