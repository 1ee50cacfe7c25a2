#!/usr/bin/env bash
# Counts the lines of C that can run with root's rights: what `shifter`, `setupRoot` and `unsetupRoot` are linked from, with its headers,
# without blank lines, comments, what runs after every right was given up (native/payload), and the tables that the build makes of formats/.
#
#   scripts/privileged-lines.sh [--files] [MOST]    each file's own number; fails when there are more than MOST
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 - "$@" <<'PYTHON'
import pathlib
import re
import sys

native = pathlib.Path("native")
build = (native / "meson.build").read_text()
PROGRAMS = ("shifter", "setupRoot", "unsetupRoot")
WITHOUT_RIGHTS = ("payload", "check", "merge")

# executable('NAME', 'programs/x.c', ..., link_with: [a, b]) and static_library('a', 'x/y.c', ...)
calls = re.findall(r"(executable|static_library)\(\s*'([\w-]+)',(.*?)\n?\)\n", build + "\n", re.S)
sources = {(kind, name): re.findall(r"'([\w/]+\.c)'", body) for kind, name, body in calls}
linked = {name: re.findall(r"\w+", match.group(1)) for kind, name, body in calls if kind == "executable" and (match := re.search(r"link_with: \[([^\]]*)\]", body))}
files, todo = set(), []
for program in PROGRAMS:
    if ("executable", program) not in sources:
        continue
    todo += sources["executable", program]
    for library in linked[program]:
        todo += sources["static_library", library] if library not in WITHOUT_RIGHTS else []
while todo:
    path = native / todo.pop()
    if path in files:
        continue
    files.add(path)
    for header in re.findall(r'^#include "([^"]+)"', path.read_text(), re.M):
        if ".gen." not in header and header.split("/")[0] not in WITHOUT_RIGHTS:
            todo.append(header)


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
