/** The conformance suite's cases of users' jobs, on the cluster. */
import * as Effect from 'effect/Effect'
import { type Complex, liveCases, Refused } from 'shifter-sdk/wlm-testkit'
import { afterEach, it } from 'vitest'
import { userA, userB } from '../../harness/people.js'
import { runOk } from '../../harness/process.js'
import { NODES } from '../../harness/slurm.js'
import { clean, ended, fields, image, node, runDirectory, shifter, submit } from './site.js'

/** The options of a request. */
const options = (request: Parameters<Complex['run']>[0]['request']): readonly string[] =>
  request === undefined ? [] : [`--image=${request.image}`, ...request.volumes.map((volume) => `--volume=${volume}`), ...(request.modules === undefined ? [] : [`--module=${request.modules.join(',')}`])]

const run: Complex['run'] = ({ environment = {}, request, script, user }) =>
  Effect.gen(function* () {
    const account = user === 'one' ? userA : userB
    const job = yield* Effect.tryPromise({ try: () => submit(account, script, options(request), environment), catch: (error) => new Refused({ message: String(error) }) })
    yield* Effect.promise(() => ended(job.id))
    const [found] = yield* Effect.promise(() => fields(job.id))
    const [status = '0', signal = '0'] = (found?.['ExitCode'] ?? '').split(':')
    return { status: signal === '0' ? Number(status) : 128 + Number(signal), output: job.output() }
  })

const leftovers: Complex['leftovers'] = Effect.promise(async () =>
  (await Promise.all(NODES.map(async (name) => (await runOk([node.sbin('unsetupRoot'), '--list', `--run-directory=${runDirectory(name)}`])).stdout.split('\n').slice(1).filter(Boolean)))).flat())

export const conformance = (): void => {
  afterEach(clean)
  const cases = (references: readonly [string, string]) =>
    liveCases({ images: [{ reference: references[0], line: 'one' }, { reference: references[1], line: 'two' }], marker: '/which', shown: '/shared', enter: `srun ${shifter}`, run, leftovers })
  // The names of the cases are known before there are images.
  for (const [i, { name }] of cases(['', '']).entries()) it(name, () => Effect.runPromise(cases([image('one').reference, image('two').reference])[i]?.check ?? Effect.die('no case')))
}
