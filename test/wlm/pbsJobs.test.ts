/** What becomes of a job of the gateway's own, by what qstat -xf was seen to print. */
import { describe, expect, it } from 'vitest'
import { stateOf } from '../../src/wlm/pbs/Jobs.js'

const printed = (...lines: readonly string[]): string => ['Job Id: 7.srv', ...lines.map((line) => `    ${line}`), ''].join('\n')

describe('the state of a job', () => {
  it.each([
    [printed('job_state = Q', 'substate = 10'), false, { _tag: 'Waiting' }],
    [printed('job_state = R', 'substate = 42', 'comment = job_state = F'), false, { _tag: 'Running' }],
    [printed('job_state = F', 'substate = 92', 'Exit_status = 0'), false, { _tag: 'Ended', status: 0 }],
    [printed('job_state = F', 'substate = 93', 'Exit_status = 42'), false, { _tag: 'Ended', status: 42 }],
    [printed('job_state = F', 'substate = 93', 'Exit_status = 271'), false, { _tag: 'Ended', status: 143 }],
    [printed('job_state = F', 'substate = 91', 'Exit_status = 0'), false, { _tag: 'Ended', status: 1, why: 'it was deleted' }],
    // It was deleted between its start at the server and that on its node: nothing that is printed says so.
    [printed('job_state = F', 'substate = 92', 'Exit_status = 0'), true, { _tag: 'Ended', status: 1, why: 'it was deleted' }],
    [printed('job_state = R', 'substate = 42'), true, { _tag: 'Running' }],
    [printed('job_state = F', 'substate = 91'), false, { _tag: 'Ended', status: 1, why: 'it was deleted' }],
    [printed('job_state = F', 'substate = 93', 'Exit_status = -17'), false, { _tag: 'Ended', status: 1, why: 'Exit_status -17' }],
    [printed('job_state = M'), false, { _tag: 'Lost' }],
    ['', false, { _tag: 'Lost' }],
    ['Job Id: 8.srv\n    job_state = R\n', false, { _tag: 'Lost' }],
  ] as const)('%#', (text, deleted, state) => {
    expect(stateOf('7.srv', text, deleted)).toEqual(state)
  })
})
