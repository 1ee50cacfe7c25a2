/**
 * One connection to one host: files by SFTP, and fixed commands. Every request ends: answered, or broken with the connection.
 *
 * @module
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Client, ClientChannel, ConnectConfig, SFTPWrapper } from "ssh2"
import { errorFields, messageOf, printable, TransportError } from "../../core/Errors.js"
import { FileFault } from "../../core/ImagePath.js"
import { algorithms, keysOf, typeOf } from "./KnownHosts.js"
import * as Secrets from "./Secrets.js"

/** Where is connected to, and as whom. Two that say the same share a connection. */
export class Target extends Data.Class<{
  readonly host: string
  readonly port: number
  readonly username: string
  readonly keyFile: string | undefined
  readonly agent: string | undefined
  readonly passphraseFile: string | undefined
  readonly knownHosts: string
}> {}

export const hostOf = ({ host, port }: Target): string => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`)

/** No connection came about: another host may answer. */
export class Unreachable extends Data.TaggedError("Unreachable")<{ readonly host: string; readonly why: string }> {}

/** The connection ended before an answer: whether it was done is not known. */
export class Broken extends Data.TaggedError("Broken")<{
  readonly host: string
  readonly why: string
  /** Whether the attempt got further than those before it. */
  readonly progressed?: boolean
}> {}

/** What a command said, each at most {@link MOST_SAID} bytes. */
export interface Said {
  readonly status: number | undefined
  readonly stdout: string
  readonly stderr: string
}

export interface Session {
  readonly host: string
  /** The uid that one is there. */
  readonly me: number
  /** One request of SFTP; `what` is for its error. */
  readonly ask: <A>(what: string, send: (sftp: SFTPWrapper, answer: (error: Error | null | undefined, value: A) => void) => void) => Effect.Effect<A, FileFault | Broken>
  /** One command, which must have nothing of a stranger in it. */
  readonly run: (command: string, seconds: number) => Effect.Effect<Said, Broken>
}

/** Until a connection stands. */
const CONNECT_MILLIS = 10_000
/** Until a request is answered: file systems of many disks pause when one of their servers is replaced. */
const ANSWER_MILLIS = 120_000
const KEEPALIVE_MILLIS = 10_000
const KEEPALIVES = 3
/** Commands at once; `sshd` gives a connection ten channels. */
const COMMANDS = 4
const MOST_SAID = 64 * 1024
const PROBE_SECONDS = 30
const EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/** A connection that is closed with the scope; `lost` runs when it has ended otherwise. */
export const connect = (target: Target, lost: Effect.Effect<void>): Effect.Effect<Session, TransportError | Unreachable, Scope.Scope> =>
  Effect.gen(function* () {
    const host = hostOf(target)
    const { algorithm, isKnown } = yield* hostKeys(target)
    const identity = yield* identityOf(target)
    // Loaded only here: nobody else waits for it.
    const { default: ssh2 } = yield* Effect.promise(() => import("ssh2"))
    const auth = yield* authentication(target, identity, ssh2.utils.parseKey)
    const pending = new Set<(broken: Broken) => void>()
    let over: Broken | undefined
    let isOurs = false

    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new ssh2.Client()),
      (made) => Effect.sync(() => made.destroy())
    )
    const end = (why: string) => {
      if (over !== undefined) return
      over = new Broken({ host, why })
      client.destroy()
      for (const each of [...pending]) each(over)
      pending.clear()
    }
    /** Waits for one answer; the connection is given up after so long a silence. */
    const awaited = <A, E>(millis: number, begin: (settle: (effect: Effect.Effect<A, E | Broken>) => void) => void): Effect.Effect<A, E | Broken> =>
      Effect.async<A, E | Broken>((resume) => {
        if (over !== undefined) return resume(over)
        const timer = setTimeout(() => { end(`it gave no answer within ${Math.round(millis / 1000)} s`) }, millis)
        const settle = (effect: Effect.Effect<A, E | Broken>) => {
          clearTimeout(timer)
          pending.delete(settle)
          resume(effect)
        }
        pending.add(settle)
        begin(settle)
        return Effect.sync(() => {
          clearTimeout(timer)
          pending.delete(settle)
        })
      })

    yield* established(client, target, { ...auth, algorithms: { serverHostKey: [...algorithm] } }, isKnown)
    client.on("error", (error) => { end(messageOf(error)) }).on("close", () => {
      end("the host closed it")
      if (!isOurs) Effect.runFork(lost)
    })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isOurs = true
        end("it was closed here")
      }))

    const unsuitable = (why: string, remedy: string) => new TransportError(errorFields("IMAGE_PATH_UNUSABLE", `The host ${host} ${why}`, { remedy }))
    const unreachable = Effect.mapError((error: Broken | TransportError) => (error._tag === "Broken" ? new Unreachable(error) : error))
    const sftp = yield* awaited<SFTPWrapper, TransportError>(CONNECT_MILLIS, (settle) => {
      client.sftp((error, made) => {
        settle(error === undefined ? Effect.succeed(made) : unsuitable(`gives ${target.username} no SFTP: ${messageOf(error)}`, "Let its sshd have the subsystem sftp."))
      })
    }).pipe(unreachable)
    sftp.on("error", (error: unknown) => { end(messageOf(error)) }).on("close", () => { end("the SFTP server ended") })

    const line = yield* Effect.makeSemaphore(COMMANDS)
    const session: Omit<Session, "me"> = {
      host,
      ask: <A>(what: string, send: (on: SFTPWrapper, answer: (error: Error | null | undefined, value: A) => void) => void) =>
        awaited<A, FileFault>(ANSWER_MILLIS, (settle) => {
          const failed = (error: Error) => {
            const fault = answered(error, `${what} on ${host}`)
            // Cleared with the channel: no answer of the server's.
            if (fault === undefined) end(messageOf(error))
            else settle(new FileFault({ cause: fault }))
          }
          try {
            send(sftp, (error, value) => { error === undefined || error === null ? settle(Effect.succeed(value)) : failed(error) })
          } catch (error) {
            settle(new FileFault({ cause: error }))
          }
        }),
      run: (command, seconds) =>
        line.withPermits(1)(Effect.suspend(() => {
          let channel: ClientChannel | undefined
          let isWanted = true
          return awaited<Said, never>(seconds * 1000, (settle) => {
            client.exec(command, (error, stream) => {
              if (error !== undefined) return settle(Effect.succeed({ status: undefined, stdout: "", stderr: messageOf(error) }))
              channel = stream
              if (!isWanted) stream.close()
              listen(stream, (said) => { settle(Effect.succeed(said)) })
            })
          }).pipe(Effect.onInterrupt(() => Effect.sync(() => {
            isWanted = false
            channel?.close()
          })))
        }))
    }

    // What a publish needs, asked for before anything is sent: who one is, the hash, and names that are replaced at once.
    const probe = yield* session.run("id -u; sha256sum </dev/null", PROBE_SECONDS).pipe(unreachable)
    const [, uid, digest] = /(?:^|\n)(\d+)\s*(?:\n([0-9a-f]{64})\s+\S+\s*)?$/.exec(probe.stdout) ?? []
    if (uid === undefined) {
      return yield* unsuitable(`runs no commands for ${target.username}: ${said(probe)}`, "Let the account have a shell: the hash of what was sent is computed there.")
    }
    if (digest !== EMPTY_SHA256) return yield* unsuitable(`has no sha256sum: ${said(probe)}`, "Install it there (coreutils): the hash of what was sent is computed there.")
    for (const extension of ["posix-rename@openssh.com", "hardlink@openssh.com"]) {
      if (!extensions(sftp).has(extension)) return yield* unsuitable(`has an SFTP server without ${extension}`, "Let its sshd use the SFTP server of OpenSSH: an image appears whole by it.")
    }
    return { ...session, me: Number(uid) }
  })

/** What a command said, for an error. */
export const said = ({ status, stderr, stdout }: Said): string => printable([stderr.trim(), stdout.trim()].find((text) => text !== "")?.slice(-500) ?? `it said nothing (status ${status ?? "unknown"})`)

/** Whether the server makes files durable when it is asked. */
export const canSync = (sftp: SFTPWrapper): boolean => extensions(sftp).has("fsync@openssh.com")

/** Not in the types, nor given by any method. */
const Extended = Schema.Struct({ _extensions: Schema.Record({ key: Schema.String, value: Schema.String }) })
const extensions = (sftp: SFTPWrapper): ReadonlySet<string> =>
  new Set(Object.keys(Schema.is(Extended)(sftp) ? sftp._extensions : {}))

/** What is known of the host's key; it is refused before anything of ours is shown. */
const hostKeys = (target: Target) =>
  Effect.gen(function* () {
    const host = hostOf(target)
    const known = keysOf(yield* Secrets.knownHosts(target.knownHosts), target)
    const algorithm = algorithms(known.keys)
    if (algorithm.length === 0) {
      return yield* refusedKey(`${known.keys.length === 0 ? "No key" : "No key of a type that is supported"} of ${host} is in ${target.knownHosts}`)
    }
    const has = (keys: ReadonlyArray<Buffer>, key: Buffer) => keys.some((each) => each.equals(key))
    return {
      algorithm,
      isKnown: (key: Buffer): TransportError | undefined => {
        if (has(known.revoked, key)) return refusedKey(`The key that ${host} shows is revoked in ${target.knownHosts}`)
        return has(known.keys, key) ? undefined : refusedKey(`The key (${printable(typeOf(key))}) that ${host} shows is not the one in ${target.knownHosts}`)
      }
    }
  })

const refusedKey = (what: string) => new TransportError(errorFields("SSH_HOST_KEY_REFUSED", what))

interface Identity {
  readonly key: Redacted.Redacted<Buffer> | undefined
  readonly passphrase: Redacted.Redacted<string> | undefined
}

const identityOf = ({ keyFile, passphraseFile }: Target): Effect.Effect<Identity, TransportError> =>
  Effect.all({
    key: keyFile === undefined ? Effect.succeed(undefined) : Secrets.privateKey(keyFile),
    passphrase: passphraseFile === undefined ? Effect.succeed(undefined) : Secrets.passphrase(passphraseFile)
  })

/** One way to show who one is, and no other. */
const authentication = (
  { agent, keyFile }: Target,
  { key, passphrase }: Identity,
  parse: (key: Buffer, passphrase?: string) => object
): Effect.Effect<Pick<ConnectConfig, "agent" | "authHandler" | "passphrase" | "privateKey">, TransportError> => {
  if (key === undefined || keyFile === undefined) return Effect.succeed({ agent: agent ?? "", authHandler: ["agent"] })
  const privateKey = Redacted.value(key)
  const secret = passphrase === undefined ? undefined : Redacted.value(passphrase)
  const parsed = parse(privateKey, secret)
  if (parsed instanceof Error) return Secrets.unusableKey(keyFile, parsed)
  return Effect.succeed({ privateKey, authHandler: ["publickey"], ...(secret === undefined ? {} : { passphrase: secret }) })
}

/** Connects, shows who one is, and is let in. */
const established = (client: Client, target: Target, config: ConnectConfig, isKnown: (key: Buffer) => TransportError | undefined) =>
  Effect.async<void, TransportError | Unreachable>((resume) => {
    const host = hostOf(target)
    let refusal: TransportError | undefined
    const settle = (effect: Effect.Effect<void, TransportError | Unreachable>) => {
      clearTimeout(timer)
      resume(effect)
    }
    const timer = setTimeout(() => { settle(new Unreachable({ host, why: `it did not answer within ${CONNECT_MILLIS / 1000} s` })) }, CONNECT_MILLIS)
    client
      .once("ready", () => { settle(Effect.void) })
      // Kept for as long as the connection: a later one without a listener would end the process.
      .on("error", (error) => { settle(refusal ?? notLetIn(target, error)) })
      .once("close", () => { settle(refusal ?? new Unreachable({ host, why: "it closed the connection" })) })
    client.connect({
      ...config,
      host: target.host,
      port: target.port,
      username: target.username,
      readyTimeout: 0,
      keepaliveInterval: KEEPALIVE_MILLIS,
      keepaliveCountMax: KEEPALIVES,
      hostVerifier: (key: Buffer) => {
        refusal = isKnown(key)
        return refusal === undefined
      }
    })
    return Effect.sync(() => { clearTimeout(timer) })
  })

const notLetIn = (target: Target, error: Error & { readonly level?: string | undefined }): TransportError | Unreachable => {
  const host = hostOf(target)
  const why = printable(messageOf(error))
  if (error.level === "client-authentication" || error.level === "agent") {
    const by = target.keyFile === undefined ? `the agent ${target.agent ?? ""}` : `the key ${target.keyFile}`
    return new TransportError(errorFields("SSH_UNAUTHORIZED", `The host ${host} does not let ${target.username} in by ${by}: ${why}`))
  }
  if (/no matching host key/i.test(why)) return refusedKey(`The host ${host} has no key of a type that ${target.knownHosts} knows of it`)
  return new Unreachable({ host, why })
}

/** Status codes of SFTP, as a file system's own. */
const codes: ReadonlyMap<unknown, string> = new Map([
  [2, "ENOENT"],
  [3, "EACCES"],
  [4, "FAILURE"],
  [5, "EINVAL"],
  [8, "ENOTSUP"]
])

/** An answer of the server's that is no; undefined when it is none of its. */
const answered = (error: Error & { readonly code?: unknown }, what: string): Error | undefined => {
  const code = codes.get(error.code)
  return code === undefined ? undefined : Object.assign(new Error(`${messageOf(error)}, ${what}`, { cause: error }), { code })
}

/** Takes all that a command says, and no more of it than one wants to know. */
const listen = (stream: ClientChannel, done: (said: Said) => void): void => {
  let stdout = ""
  let stderr = ""
  let status: number | undefined
  stream
    .on("data", (bytes: Buffer) => { stdout = (stdout + bytes.toString("utf8")).slice(-MOST_SAID) })
    .on("exit", (code: number | null) => { status = code ?? undefined })
    .on("close", () => { done({ status, stdout, stderr }) })
    .stderr.on("data", (bytes: Buffer) => { stderr = (stderr + bytes.toString("utf8")).slice(-MOST_SAID) })
  stream.end()
}
