#!/usr/bin/env bash
# The tests with a Slurm cluster in their long form: more jobs, time limits, every kind of crash.
#
#   scripts/slurm.sh [SEED]    the choices of an earlier run, whose seed is in its output
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh test
npm run --silent build -- --silent
export SHIFTER_TEST_LONG=1
[[ $# == 0 ]] || export SHIFTER_CHAOS_SEED=$1
npx vitest run test/wlm
