#!/usr/bin/env bash
# Kills, stops, races and fills up for long: the tests of what survives, with many more tries than in `npm test`.
#
#   scripts/chaos.sh [SEED]    the choices of an earlier run, whose seed is in its output
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

npm run --silent build -- --silent
export SHIFTER_TEST_LONG=1
[[ $# == 0 ]] || export SHIFTER_CHAOS_SEED=$1
npx vitest run test/gateway/chaos.test.ts test/gateway/crash.test.ts test/gateway/durability.test.ts test/gateway/pulls.test.ts
