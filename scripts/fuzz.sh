#!/usr/bin/env bash
# Builds and runs every fuzzer, those of native/fuzz and test/fuzz/documents.mjs (manifests and configurations), two at a time.
#
#   scripts/fuzz.sh [SECONDS [NAME...]]    for each; 600 unless told
#
# A fuzzer starts from native/fuzz/corpus/NAME, which it does not change. What it adds stays in build-native-fuzz/found/NAME; an input that
# breaks something is left in build-native-fuzz/broken and ends the run. `scripts/fuzz.sh merge-corpus` adds what is new and small to the kept ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=build-native-fuzz
seconds=${1:-600}
shift || true

options=(-Dfuzz=true -Dtests=false -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized)
[[ -e $build/build.ninja ]] || CC=clang meson setup "$build" native "${options[@]}" >/dev/null
ninja --quiet -C "$build" >/dev/null || ninja -C "$build"

names=("$@")
if [[ ${#names[@]} == 0 ]]; then
  for source in native/fuzz/fuzz_*.c; do
    name=${source##*/fuzz_}
    names+=("${name%.c}")
  done
  names+=(documents)
fi

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1
mkdir -p "$build/broken"

fuzz() {
  local name=$1 found=$build/found/$1 corpus=native/fuzz/corpus/$1 log=$build/$1.log
  if [[ $name == documents ]]; then
    if [[ $seconds == merge-corpus ]]; then SHIFTER_FUZZ_KEEP=1 node test/fuzz/documents.mjs 60; else node test/fuzz/documents.mjs "$seconds"; fi
    return
  fi
  mkdir -p "$found" "$corpus"
  if [[ $seconds == merge-corpus ]]; then
    # Small inputs that reach something new, and no more than fits a repository.
    "$build/fuzz/fuzz-$name" -set_cover_merge=1 -use_counters=0 -max_len=1024 "$corpus" "$found" 2>&1 | tail -n 1
    return
  fi
  if ! "$build/fuzz/fuzz-$name" -max_total_time="$seconds" -max_len=17000 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$build/broken/$name-" "$found" "$corpus" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    printf 'fuzz: %s broke: the input is in %s/broken\n' "$name" "$build" >&2
    return 1
  fi
  printf 'fuzz: %s: %s inputs in %s s\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$seconds"
}

# Two at a time. When one breaks, what runs already is waited for.
next() { wait -n || { wait; exit 1; }; }
running=0
for name in "${names[@]}"; do
  if ((running++ == 2)); then next; running=2; fi
  fuzz "$name" &
done
while ((running-- > 0)); do next; done
