#!/usr/bin/env bash
# Counts the lines of C that can run with root's rights: `shifter`, `setupRoot` and `unsetupRoot` and what they are linked from, native/policy and
# native/mechanism, with headers, without blank lines, comments, what runs after every right was given up (native/payload), and the tables that
# the build makes of formats/.
#
#   scripts/privileged-lines.sh [--files] [MOST]    each file's own number; fails when there are more than MOST
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 - "$@" <<'PYTHON'
import pathlib
import re
import sys

native = pathlib.Path("native")
files = {path for part in ("policy", "mechanism") for path in (native / part).glob("*.[ch]")}
files |= {path for name in ("shifter", "setup_root", "unsetup_root", "for_root") for path in native.glob(f"programs/{name}.[ch]")}


def lines_of(path):
    # Texts and characters first, so that a "//" inside one is none of ours.
    code = re.sub(r'("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')|//[^\n]*|/\*.*?\*/', lambda m: m.group(1) or "", path.read_text(), flags=re.S)
    return sum(1 for line in code.splitlines() if line.strip())


counts = {path: lines_of(path) for path in sorted(files)}
if "--files" in sys.argv:
    for path, count in counts.items():
        print(f"{count:5} {path}")
total, most = sum(counts.values()), next((int(word) for word in sys.argv[1:] if word.isdigit()), None)
print(f"privileged lines: {total}")
if most is not None and total > most:
    sys.exit(f"privileged-lines: more than the {most} lines that may run with root's rights")
PYTHON
