#!/usr/bin/env bash
# Builds the native programs. Where their configuration lies is fixed here and nowhere else.
#
#   scripts/build-native.sh [PREFIX [SYSCONFDIR]]    default: /usr/local /etc
set -euo pipefail

prefix=${1:-/usr/local}
sysconfdir=${2:-/etc}
case $prefix:$sysconfdir in
  /*:/*) ;;
  *) printf 'build-native: error: PREFIX and SYSCONFDIR are absolute paths\n' >&2; exit 2 ;;
esac
# npm calls it by a link.
repo=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
build=$repo/build-native

# The tests need cmocka, which only `npm test` installs.
tests=false
if pkg-config --exists cmocka 2>/dev/null; then tests=true; fi
options=(--prefix="$prefix" --sysconfdir="$sysconfdir" --buildtype=release -Dtests="$tests")
if [[ -e $build/build.ninja ]]; then
  meson configure "$build" "${options[@]}"
else
  meson setup "$build" "$repo/native" "${options[@]}"
fi
ninja -C "$build"

# What a user or an administrator starts, and what those start (shifter_slurm.so and shifter-task only where Slurm's headers are).
made=()
for name in shifter shifter-userns setupRoot unsetupRoot shifter-check shifter-job shifter_slurm.so shifter-task shifter-pbs shifter-merge shifter-inflate shifter-verify shifter-unsquash \
  shifter-tree shifter-open shifter-confined shifter-disk shifter-disk-guest; do
  if [[ -e $build/$name ]]; then made+=("$name"); fi
done
printf '\nbuild-native: made %s in %s\n' "$(printf '%s, ' "${made[@]}" | sed 's/, $//; s/\(.*\), /\1 and /')" "$build"
printf 'build-native: configuration is read from %s/shifter\n' "$sysconfdir"
printf 'build-native: install as root: meson install -C %q --no-rebuild\n' "$build"
