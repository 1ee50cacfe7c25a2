/**
 * Slurm with images: a real controller and two real nodes. `npm run test:slurm` runs the long form.
 *
 * One file, since one installation of the native programs serves all of it; what it tests is in the files of `slurm`.
 */
import { describe } from 'vitest'
import { crowd } from './slurm/crowd.js'
import { faults } from './slurm/faults.js'
import { hostile } from './slurm/hostile.js'
import { jobs } from './slurm/jobs.js'
import { mpi } from './slurm/mpi.js'
import { useCluster, useImages } from './slurm/site.js'
import { submission } from './slurm/submission.js'

useImages()

describe('a cluster', () => {
  useCluster()
  describe('a submission', submission)
  describe('a job with an image', jobs)
  describe('values that a user forges', hostile)
  describe('when something goes wrong', faults)
  describe('MPI', mpi)
  describe('a crowd', crowd)
})
