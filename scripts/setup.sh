#!/usr/bin/env bash
# Installs what the demo or the tests need on Debian or Ubuntu. Run as root; running it again changes nothing.
#
#   scripts/setup.sh demo    what `npm run demo` needs
#   scripts/setup.sh test    what `npm test` and `npm run bench` need as well
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

mode=${1:-}
case $mode in
  demo | test) ;;
  *) fail "usage: scripts/setup.sh demo|test" ;;
esac

# One package a line, with what it is for.
demo_packages=(
  squashfs-tools-ng # tar2sqfs, the packer
  squashfs-tools    # unsquashfs, to look into what was packed; mksquashfs, which makes what is imported
  docker-registry   # serves images on 127.0.0.1
  meson             # builds the native programs
  ninja-build       # builds the native programs
  gcc               # compiles the native programs
  libc6-dev         # C headers
  linux-libc-dev    # kernel headers: mount, loop and openat2 definitions
  pkg-config        # asked by meson
  libisal-dev       # inflates gzip layers: the fastest there is
  libzstd-dev       # inflates zstd layers
  libsquashfs-dev   # reads packed images back
  libssl-dev        # SHA-256 with the processor's own instructions
  python3           # runs meson and the header generator
  busybox-static    # the small programs of the demo's image
  passwd            # useradd, for the service account and an ordinary one
  util-linux        # setpriv, to become them; flock
)
test_packages=(
  skopeo        # pushes images; half of the comparison pipeline
  umoci         # unpacks the same layers, for comparison
  libcmocka-dev # unit tests of the native programs
  clang         # fuzzers of the native programs
  e2fsprogs     # makes a file system that is no squashfs, for an attack
  mount         # losetup, to see that no loop device is left
  docker.io     # a daemon to pull from
  openssh-server # a system that is reached by ssh
  openssh-client # its keys and an agent
  zsh           # reads its completions
  fish          # reads its completions
  tcsh          # reads the profile script of CHOS's users
  csh           # reads it too
  isal          # igzip, which inflates for the benchmark's floor
  zstd          # makes zstd layers
  curl          # fetches for the benchmark's floor
  pigz          # compresses the benchmark's layers
  strace        # shows the privileged phase's system calls
  valgrind      # finds what is read before it is set, and leaks, in the unit tests
  btrfs-progs   # a file system with quotas, to use one up
  user-mode-linux # an older kernel to run the helper on, and the reader of disks
  lvm2          # makes disks with logical volumes
  fdisk         # makes partition tables
  qemu-utils    # makes and converts virtual machines' disks
  perl-base     # bcrypt, for a registry that asks for a password
  squashfuse    # shows images where there is no setuid helper
  xfsprogs      # makes the file systems of per-node caches
  mpich         # starts an MPI program of two ranks
  libmpich-dev  # compiles it
  groff-base    # formats the manual pages, with every warning
  mandoc        # reads the manual pages, and says what it does not like
  man-db        # finds a manual page as a reader would
  munge         # signs what users ask of the gateway
  systemd       # runs the unit of the gateway in namespaces of its own
  openssh-server # a system that images reach by ssh
  openssh-client # makes its keys
  postgresql    # the catalogue of several replicas
  slurmctld     # controls the cluster of the tests
  slurmd        # runs its two nodes
  slurm-client  # submits to it
  slurm-wlm-basic-plugins # what they load
  libslurm-dev  # headers of the SPANK plugin
  libopenmpi-dev # an MPI program that PMIx starts
  openmpi-bin   # compiles it
)

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
log=$(mktemp)
policy=
cleanup() {
  rm -f "$log"
  if [[ -n $policy ]]; then rm -f "$policy"; fi
}
trap cleanup EXIT

# Long outputs are shown only when something went wrong.
quietly() {
  if ! "$@" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    fail "'$*' failed (its last lines are above)"
  fi
}

command -v node >/dev/null || fail "Node.js 20 or newer is needed (https://nodejs.org/en/download), then run this again"
node_version=$(node --version)
node_major=${node_version#v}
node_major=${node_major%%.*}
[[ $node_major -ge 20 ]] || fail "Node.js 20 or newer is needed; this is $node_version"
command -v npm >/dev/null || fail "npm is needed beside Node.js (on Debian: apt-get install npm)"

packages=("${demo_packages[@]}")
if [[ $mode == test ]]; then packages+=("${test_packages[@]}"); fi

missing=()
if command -v dpkg-query >/dev/null; then
  for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $state == installed ]] || missing+=("$package")
  done
else
  fail "this needs Debian or Ubuntu (no dpkg here). Install by hand what they call: ${packages[*]}"
fi

[[ $(id -u) -eq 0 ]] || fail "run this as root: it installs packages and a setuid program, and makes accounts"

if [[ ${#missing[@]} -gt 0 ]]; then
  command -v apt-get >/dev/null || fail "apt-get is needed to install: ${missing[*]}"
  say "installing ${#missing[@]} packages: ${missing[*]}"
  # docker-registry would start itself on port 5000; nothing here wants it as a service of the machine.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get -o DPkg::Lock::Timeout=300 update
  # The sanitizers' and fuzzers' runtime is only recommended by the compiler and carries its version in its name,
  # which is known once there are package lists.
  if [[ " ${missing[*]} " == *" clang "* ]]; then
    version=$(apt-cache depends clang | sed -n 's/^ *Depends: clang-\([0-9]*\)$/\1/p')
    if [[ -n $version && -n $(apt-cache search --names-only "^libclang-rt-$version-dev\$") ]]; then
      missing+=("libclang-rt-$version-dev")
    fi
  fi
  quietly apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
  if [[ " ${missing[*]} " == *" docker-registry "* ]] && command -v systemctl >/dev/null; then
    systemctl disable --now docker-registry >/dev/null 2>&1 || true
  fi
else
  say "all ${#packages[@]} system packages are installed"
fi

cd "$repo"
# npm writes its own lock file last, so an interrupted installation is not taken for a finished one.
if [[ ! -e node_modules/.package-lock.json || package-lock.json -nt node_modules/.package-lock.json ]]; then
  say "installing the Node packages of package-lock.json"
  quietly npm ci --no-audit --no-fund
  touch node_modules/.package-lock.json
else
  say "the Node packages are installed"
fi
# As udev makes it where there is one.
if [[ $mode == test && -c /dev/fuse ]]; then chmod 0666 /dev/fuse; fi
say "ready ($mode)"
