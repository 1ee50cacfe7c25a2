/**
 * Native tools that bytes flow through. A process belongs to a scope and is killed with it; its end ends the stream, its own error shown
 * first.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { type FileHandle, open, rm } from "node:fs/promises"
import { constants } from "node:os"
import * as nodePath from "node:path"
import type { Readable, Writable } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** How a process ended. */
export interface Exit {
  /** Exit status, or 128 and the signal's number. */
  readonly status: number
  /** The last 4 KiB of its standard error. */
  readonly stderr: string
}

export interface Process {
  readonly stdin: Writable | null
  readonly stdout: Readable | null
  /** Waits for the end. */
  readonly exit: Promise<Exit>
  readonly kill: () => void
}

/** A program could not be started. */
export class SpawnFault extends Error {
  override readonly name = "SpawnFault"
  constructor(
    readonly program: string,
    readonly errno: string | undefined
  ) {
    super(errno === "ENOENT" ? `the program "${program}" is not installed` : `the program "${program}" could not be started (${errno ?? "unknown error"})`)
  }
}

/** The environment of every tool: nothing of the caller's can change what it does. */
const environment = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8" }

const STDERR_KEPT = 4096
const OUTPUT_LIMIT = 16 * 1024 * 1024

/** What a program's descriptors are: one of ours, a pipe or nothing; `further` become 3, 4 and so on. */
export interface Stdio {
  readonly stdin: number | "pipe" | "ignore"
  readonly stdout: number | "pipe" | "ignore"
  readonly further?: ReadonlyArray<number>
}

/** Starts a program. The promise fails with {@link SpawnFault}. */
export const start = (
  program: string,
  args: ReadonlyArray<string>,
  stdio: Stdio,
  env: Readonly<Record<string, string>> = {}
): Promise<Process> =>
  new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(program, [...args], {
      stdio: [stdio.stdin, stdio.stdout, "pipe", ...(stdio.further ?? [])],
      env: { ...environment, ...env }
    })
    // Node discards what a child that has ended wrote before anyone listened; with a listener it waits to be iterated.
    child.stdout?.on("readable", () => undefined)
    let stderr = Buffer.alloc(0)
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr = Buffer.concat([stderr, chunk]).subarray(-STDERR_KEPT)
    })
    const exit = new Promise<Exit>((done) => {
      child.once("close", (status, signal) =>
        done({
          status: status ?? 128 + (signal === null ? 0 : constants.signals[signal]),
          stderr: stderr.toString("utf8").trim()
        })
      )
    })
    child.once("error", (error) => reject(new SpawnFault(program, "code" in error && typeof error.code === "string" ? error.code : undefined)))
    child.once("spawn", () => resolve({ stdin: child.stdin, stdout: child.stdout, exit, kill: () => void child.kill("SIGKILL") }))
  })

/** {@link start} in a scope: the end of the scope kills the process and waits until it is gone. */
export const scoped = (...args: Parameters<typeof start>): Effect.Effect<Process, SpawnFault, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => start(...args),
      catch: (error) => (error instanceof SpawnFault ? error : new SpawnFault(args[0], undefined))
    }),
    (process) =>
      Effect.promise(() => {
        process.kill()
        // Nobody may read what it printed any more, and a pipe with something in it does not close.
        process.stdout?.destroy()
        return process.exit
      })
  )

/** Runs a program to its end and returns what it printed, at most 16 MiB; `input` is what it reads. */
export const output = (program: string, args: ReadonlyArray<string>, input?: string, env?: Readonly<Record<string, string>>): Effect.Effect<Exit & { readonly stdout: string }, SpawnFault> =>
  Effect.scoped(
    Effect.gen(function* () {
      const process = yield* scoped(program, args, { stdin: input === undefined ? "ignore" : "pipe", stdout: "pipe" }, env)
      // One that ends without reading is judged by its status.
      process.stdin?.on("error", () => undefined).end(input)
      const stdout = yield* Effect.promise(async () => {
        const chunks: Array<Buffer> = []
        let size = 0
        for await (const chunk of process.stdout ?? []) {
          size += (chunk as Buffer).length
          if (size > OUTPUT_LIMIT) process.kill()
          else chunks.push(chunk as Buffer)
        }
        return Buffer.concat(chunks).toString("utf8")
      })
      const exit = yield* Effect.promise(() => process.exit)
      return { ...exit, stdout }
    })
  )

/** What a process prints, line by line. Unlike an iterator's, its reading can be left while the process is silent. */
export const lines = ({ stdout }: Process): Stream.Stream<string> =>
  stdout === null
    ? Stream.empty
    : Stream.asyncPush<Buffer>(
        (emit) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              const take = () => {
                for (let piece: unknown = stdout.read(); piece instanceof Buffer; piece = stdout.read()) emit.single(piece)
              }
              const end = () => emit.end()
              stdout.on("readable", take).once("close", end)
              if (stdout.closed) end()
              else take()
              return () => stdout.off("readable", take).off("close", end)
            }),
            (leave) => Effect.sync(leave)
          ),
        { bufferSize: "unbounded" }
      ).pipe(Stream.decodeText(), Stream.splitLines)

/** The two ends of a pipe that bytes flow through from one program to another. */
export interface Pipe {
  readonly reader: FileHandle
  readonly writer: FileHandle
}

/**
 * A pipe, made in a directory and no longer there when it is returned. The scope closes both ends; closing an end that a program has been
 * given is the caller's business, since a pipe ends when its last writer has closed it.
 */
export const pipe = (directory: string): Effect.Effect<Pipe, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const path = nodePath.join(directory, `pipe-${randomBytes(8).toString("hex")}`)
    const made = yield* output("mkfifo", ["-m", "600", path])
    if (made.status !== 0) return yield* Effect.fail(new Error(made.stderr))
    return yield* Effect.acquireRelease(
      Effect.tryPromise(async (): Promise<Pipe> => {
        // With a reader and writer in one, neither end waits for the other to be opened.
        const both = await open(path, "r+")
        try {
          return { reader: await open(path, "r"), writer: await open(path, "w") }
        } finally {
          await both.close()
          await rm(path)
        }
      }),
      ({ reader, writer }) => Effect.promise(() => Promise.all([reader.close(), writer.close()]))
    )
  })
