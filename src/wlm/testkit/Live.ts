/**
 * Cases of users' jobs, with a workload manager that runs and nodes that have the native programs.
 *
 * @module
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { UdiRequest } from "../../core/Wlm.js"
import { type Case, must, mustEqual } from "./Case.js"

/** A job that was refused at submission, with what its user was told. */
export class Refused extends Data.TaggedError("Refused")<{ readonly message: string }> {}

/** A job of a user's. */
export interface UserJob {
  /** The one or the other of two ordinary users. */
  readonly user: "one" | "other"
  readonly request: UdiRequest | undefined
  /** Lines of a shell script, run once, outside of the image. */
  readonly script: string
  /** Further variables of whoever submits, which the job inherits where its workload manager hands them on. */
  readonly environment?: Readonly<Record<string, string>> | undefined
}

/** A workload manager that runs, as the cases use it. */
export interface Complex {
  /** Two images that both users may use, with `cat` and `test`. */
  readonly images: readonly [MarkedImage, MarkedImage]
  /** A file that each of them has, and the nodes have not; it holds a line that is each image's own. */
  readonly marker: string
  /** A directory of the nodes that both users may read, and the image shows: a volume of it is taken. */
  readonly shown: string
  /** The start of a command line of the script that runs the rest of it inside, such as `srun shifter`. */
  readonly enter: string
  /** Submits a job, and waits for its end. */
  readonly run: (job: UserJob) => Effect.Effect<{ readonly status: number; readonly output: string }, Refused>
  /** What is left of jobs on all nodes, once they have been cleaned: prepared roots, mounts, loop devices, files; a line each. */
  readonly leftovers: Effect.Effect<ReadonlyArray<string>>
}

export interface MarkedImage {
  /** `TYPE:REFERENCE` */
  readonly reference: string
  /** The line of the marker. */
  readonly line: string
}

const request = (image: string, more: Partial<UdiRequest> = {}): UdiRequest => ({ image, volumes: [], writable: [], ...more })

export const liveCases = ({ enter, images: [first, second], leftovers, marker, run, shown }: Complex): ReadonlyArray<Case> => {
  const read = `${enter} cat ${marker}`
  const refused = (job: UserJob, what: string) =>
    Effect.flatMap(Effect.either(run(job)), (end) => must(end._tag === "Left" && end.left.message.trim() !== "", `${what} is not refused at submission with a message: ${JSON.stringify(end)}`))
  const cases: ReadonlyArray<Case> = [
    {
      name: "runs a job inside of the image that it asks for",
      check: Effect.flatMap(run({ user: "one", request: request(first.reference), script: read }), (end) => mustEqual(end, { status: 0, output: `${first.line}\n` }, "the job"))
    },
    {
      name: "gives each of several jobs at once its own image",
      check: Effect.flatMap(
        Effect.forEach(
          (["one", "other"] as const).flatMap((user) => [first, second].map((image) => ({ user, image }))),
          ({ image, user }) => Effect.map(run({ user, request: request(image.reference), script: read }), ({ output }) => [user, output.trim(), image.line]),
          { concurrency: "unbounded" }
        ),
        (found) => mustEqual(found.map(([user, output]) => [user, output]), found.map(([user, , line]) => [user, line]), "what the jobs saw")
      )
    },
    {
      name: "runs a job that asks for none outside",
      check: Effect.flatMap(run({ user: "one", request: undefined, script: `test -e ${marker} || echo outside` }), (end) => mustEqual(end, { status: 0, output: "outside\n" }, "the job"))
    },
    { name: "keeps a job's status", check: Effect.flatMap(run({ user: "one", request: request(first.reference), script: "exit 42" }), ({ status }) => mustEqual(status, 42, "the status")) },
    {
      name: "shows a volume",
      check: Effect.flatMap(run({ user: "one", request: request(first.reference, { volumes: [`${shown}:/there`] }), script: `${enter} test -d /there && echo shown` }), (end) =>
        mustEqual(end, { status: 0, output: "shown\n" }, "the job")
      )
    },
    { name: "refuses an image that there is not", check: refused({ user: "one", request: request("docker:no-such/image:ever"), script: "true" }, "an image that there is not") },
    { name: "refuses what is no image", check: refused({ user: "one", request: request("docker:$(reboot);'"), script: "true" }, "what is no image") },
    { name: "refuses a volume that nobody may have", check: refused({ user: "one", request: request(first.reference, { volumes: ["/tmp:/etc"] }), script: "true" }, "a volume over /etc") },
    { name: "refuses a module that the site has not", check: refused({ user: "one", request: request(first.reference, { modules: ["no-such-module"] }), script: "true" }, "a module that there is not") },
    {
      name: "is changed by nothing that a user's environment pretends",
      check: Effect.forEach(
        [
          { SHIFTER_IMAGE: "id:../../etc", SHIFTER_IMAGETYPE: "id" },
          { SHIFTER_VOLUME: "/tmp:/etc" },
          { SHIFTER_MODULE: "$(reboot)" },
          { SHIFTER_IMAGE: "x\ny", SHIFTER_VOLUME: ";;\n", SHIFTER_IMAGEREQUEST: "docker:none" }
        ],
        (environment) =>
          Effect.flatMap(Effect.either(run({ user: "other", request: request(second.reference), script: read, environment })), (end) =>
            must(end._tag === "Left" || end.right.status !== 0 || end.right.output === `${second.line}\n`, `with ${JSON.stringify(environment)} the job saw ${JSON.stringify(end)}`)
          ),
        { discard: true }
      )
    }
  ]
  return cases.map(({ check, name }) => ({
    name,
    check: Effect.zipRight(check, Effect.flatMap(leftovers, (left) => mustEqual(left, [], "what is left on the nodes")))
  }))
}
