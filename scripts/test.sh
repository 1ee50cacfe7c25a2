#!/usr/bin/env bash
# Everything that CI checks: set-up, lint, rooms, types, builds, the native tests and fuzzers, the documentation, the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n== %s\n' "$*"; }

step "set-up"
bash scripts/setup.sh test
step "lint, rooms, types"
npm run --silent lint
npm run --silent rooms
npm run --silent typecheck
step "build"
npm run --silent build -- --silent
step "native programs: build and unit tests"
meson setup --wipe build-native-test native >/dev/null 2>&1 || meson setup build-native-test native >/dev/null
# All of it: what is tested is not all that is counted below.
ninja --quiet -C build-native-test
meson test -C build-native-test --print-errorlogs
step "native programs under the address and undefined-behaviour sanitizers"
meson setup --wipe build-native-san native -Db_sanitize=address,undefined -Db_lundef=false >/dev/null 2>&1 ||
  meson setup build-native-san native -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
meson test -C build-native-san --print-errorlogs
step "unit tests of the policy functions, and of the plugin for Slurm, under valgrind"
meson test -C build-native-test --print-errorlogs --timeout-multiplier 4 formats configuration command setup accounts corners volumes slurm spank spank-prepend \
  --wrap 'valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite'
step "branches of the policy functions"
bash scripts/coverage.sh
step "lines of the setuid program"
bash scripts/privileged-lines.sh 4000
step "fuzzers, ten seconds each"
bash scripts/fuzz.sh 10
step "documentation"
npm run --silent docs -- --logLevel Warn
step "tests"
npx vitest run
