/**
 * Slurm with images: a real controller and two real nodes. `npm run test:slurm` runs the long form.
 *
 * One file, since one installation of the native programs serves all of it; what it tests is in the files of `slurm`.
 */
import { describe } from 'vitest'
import { type NodeName, NODES } from '../harness/slurm.js'
import { conformance } from './slurm/conformance.js'
import { crowd } from './slurm/crowd.js'
import { elsewhere } from './slurm/elsewhere.js'
import { faults } from './slurm/faults.js'
import { guide } from './slurm/guide.js'
import { hostile } from './slurm/hostile.js'
import { jobs } from './slurm/jobs.js'
import { pmi2, pmix } from './slurm/mpi.js'
import { pulling } from './slurm/pulling.js'
import { CLUSTER, runDirectory, useCluster, useImages } from './slurm/site.js'
import { submission } from './slurm/submission.js'
import { unusual } from './slurm/unusual.js'

useImages()

describe('a cluster', () => {
  useCluster()
  describe('the conformance suite', conformance)
  describe('a submission', submission)
  describe('a job with an image', jobs)
  describe('values that a user forges', hostile)
  describe('when something goes wrong', faults)
  describe('an MPI program, started by PMI2', pmi2)
  describe('a crowd', crowd)
  describe('what is rarer', unusual)
  describe('--image-pull from a gateway', pulling)
})

/** Each node with a run directory and a `/tmp` of its own, as on a machine of its own. */
const ownDirectories = (name: NodeName): string => `mount --bind ${runDirectory(name)} ${runDirectory('n1')}\nmount -t tmpfs -o mode=1777 tmpfs /tmp`

describe('the guide', () => {
  useCluster({ empty: true, space: ownDirectories })
  guide()
})

// The prologue is as it is rendered: it knows of no run directory but the first, which each namespace has another of.
describe('where each slurmd has a mount namespace of its own', () => {
  useCluster({ space: ownDirectories })
  describe('jobs', elsewhere(true))
  describe('an MPI program, started by PMIx', pmix)
})

describe('where every job has one (job_container/tmpfs)', () => {
  useCluster({
    config: ['JobContainerType=job_container/tmpfs', 'PrologFlags=Alloc,Contain'],
    files: { 'job_container.conf': NODES.map((name) => `NodeName=${name} AutoBasePath=true BasePath=${CLUSTER}/containers-${name}\n`).join('') },
  })
  describe('jobs', elsewhere(false))
})
