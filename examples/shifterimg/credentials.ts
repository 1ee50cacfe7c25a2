/**
 * User names and passwords of registries: from options and standard input, or asked for on the terminal. Never from the command line, where
 * everyone on the machine could read a password.
 *
 * @module
 */
import { addAbortSignal } from "node:stream"
import { usageFault } from "./failure.js"
import { ask, askSecretly, canAsk } from "./prompt.js"
import { safe } from "./text.js"

interface Options {
  readonly username?: string | undefined
  readonly "password-stdin"?: boolean | undefined
}

export interface Credentials {
  readonly username: string
  readonly password: string
}

/** Of a pull: none, unless it names a user. */
export const pullCredentials = async (reference: string, options: Options, signal: AbortSignal): Promise<Credentials | undefined> =>
  options.username === undefined && options["password-stdin"] !== true ? undefined : credentials(`pull --username ME --password-stdin ${safe(reference)}`, options, signal)

/** Of a login: whoever names nobody is asked. */
export const loginCredentials = (registry: string, options: Options, signal: AbortSignal): Promise<Credentials> =>
  credentials(`login --username ME --password-stdin ${safe(registry)}`, options, signal)

const credentials = async (command: string, options: Options, signal: AbortSignal): Promise<Credentials> => {
  const example = `Write for example: shifterimg ${command} < password.`
  if (options["password-stdin"] === true) {
    if (options.username === undefined) throw usageFault("--password-stdin needs --username", example)
    return checked({ username: options.username, password: await firstLine(signal) })
  }
  if (!canAsk()) throw usageFault("there is no terminal to ask for the password on", example)
  const username = options.username ?? (await ask("User name: ", signal))
  return checked({ username, password: await askSecretly("Password: ", signal) })
}

const firstLine = async (signal: AbortSignal): Promise<string> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of addAbortSignal(signal, process.stdin)) chunks.push(chunk as Buffer)
  return (Buffer.concat(chunks).toString("utf8").split("\n")[0] ?? "").replace(/\r$/, "")
}

const checked = (given: Credentials): Credentials => {
  if (given.username === "" || given.username.includes(":")) throw usageFault("the user name is empty or holds a colon", "Name the user that the registry knows.")
  if (given.password === "") throw usageFault("the password is empty", "Give the password, or the token that the registry takes in its place.")
  return given
}
