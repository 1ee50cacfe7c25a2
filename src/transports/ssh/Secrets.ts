/**
 * Files that a connection is made with: the private key with what unlocks it, and the known hosts.
 *
 * @module
 */
import { constants } from "node:fs"
import { open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { errorFields, messageOf, TransportError } from "../../core/Errors.js"

const invalid = (what: string, options?: { readonly remedy?: string; readonly cause?: unknown }) => new TransportError(errorFields("CONFIG_INVALID", what, options))

const MOST = 1024 * 1024

const readFile = (what: string, file: string, isSecret: boolean): Effect.Effect<Buffer, TransportError> =>
  Effect.acquireUseRelease(
    Effect.tryPromise({
      try: () => open(file, constants.O_RDONLY | constants.O_NONBLOCK),
      catch: (cause) => invalid(`The ${what} ${file} can't be read: ${messageOf(cause)}`, { remedy: "Name a file that the account that pulls may read.", cause })
    }),
    (handle) =>
      Effect.gen(function* () {
        const failed = (cause: unknown) => invalid(`The ${what} ${file} can't be read: ${messageOf(cause)}`, { cause })
        const found = yield* Effect.tryPromise({ try: () => handle.stat(), catch: failed })
        if (!found.isFile() || found.size > MOST) return yield* invalid(`The ${what} ${file} is no regular file of at most ${MOST} bytes`)
        if (isSecret && (found.mode & 0o077) !== 0) {
          return yield* invalid(`The ${what} ${file} may be read or written by others`, { remedy: `Run: chmod 600 ${file}` })
        }
        return yield* Effect.tryPromise({ try: () => handle.readFile(), catch: failed })
      }),
    (handle) => Effect.promise(() => handle.close().catch(() => undefined))
  )

export const knownHosts = (file: string): Effect.Effect<string, TransportError> => Effect.map(readFile("file of known hosts", file, false), (bytes) => bytes.toString("utf8"))

/** A file that is this account's alone. */
export const privateKey = (file: string): Effect.Effect<Redacted.Redacted<Buffer>, TransportError> => Effect.map(readFile("private key", file, true), Redacted.make)

/** The first line of a file that is this account's alone. */
export const passphrase = (file: string): Effect.Effect<Redacted.Redacted<string>, TransportError> =>
  Effect.map(readFile("passphrase file", file, true), (bytes) => Redacted.make(bytes.toString("utf8").split("\n")[0] ?? ""))

/** A key that is no key, or that its passphrase does not unlock. */
export const unusableKey = (file: string, cause: Error): TransportError =>
  invalid(`The private key ${file} can't be used: ${cause.message}`, { remedy: "Name a private key in OpenSSH's form, with its passphraseFile where it has a passphrase.", cause })
