#!/usr/bin/env bash
# Counts the lines of C that have rights which their caller may not have: those of the setuid program `shifter`. It tells those that only
# setupRoot and unsetupRoot have too, which root alone can start.
#
# A program's lines are those of the source files whose objects the linker takes into it, as it looks for them: an object of a library is
# taken when something before needs a name that it defines. Not counted are blank lines, comments, headers (they declare), what runs after
# every right was given up (native/payload), and the tables that the build makes of formats/.
#
#   scripts/privileged-lines.sh [--files] [BUILD] [MOST]    each file's own number; of the programs in the directory BUILD (build-native-test);
#                                                         fails when the setuid program has more than MOST
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 - "$@" <<'PYTHON'
import pathlib
import re
import subprocess
import sys

words = [word for word in sys.argv[1:] if word != "--files"]
build = pathlib.Path(next((word for word in words if not word.isdigit()), "build-native-test"))
most = next((int(word) for word in words if word.isdigit()), None)
native = pathlib.Path("native")
LIBRARIES = ("policy", "mechanism", "payload")


class Object:
    def __init__(self, path):
        name = re.sub(r"^meson-generated_\.*_?|\.o$", "", path.name)
        source = native / name.replace("_", "/", 1)
        self.source = None if ".gen." in name or path.parent.name == "libpayload.a.p" else source
        assert self.source is None or source.exists(), f"{path}: no source {source}"
        rows = [line.split() for line in subprocess.run(["nm", path], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()]
        self.needs = {row[-1] for row in rows if row[-2] == "U"}
        self.defines = {row[-1] for row in rows if row[-2] in "TDBRVW"}


def sources_of(program):
    """The files that a program is linked from."""
    taken = [Object(path) for path in sorted((build / f"{program}.p").glob("*.o"))]
    assert taken, f"{build} holds no objects of {program}"
    left = [member for library in LIBRARIES for member in libraries[library]]
    for member in taken:  # grows meanwhile
        found = [other for other in left if other.defines & member.needs]
        taken += found
        left = [other for other in left if other not in found]
    return {member.source for member in taken if member.source is not None}


def lines_of(path):
    # Texts and characters first, so that a "//" inside one is none of ours.
    code = re.sub(r'("(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')|//[^\n]*|/\*.*?\*/', lambda m: m.group(1) or "", path.read_text(), flags=re.S)
    return sum(1 for line in code.splitlines() if line.strip())


libraries = {name: [Object(path) for path in sorted((build / f"lib{name}.a.p").glob("*.o"))] for name in LIBRARIES}
setuid = sources_of("shifter")
for_root = (sources_of("setupRoot") | sources_of("unsetupRoot")) - setuid
if "--files" in sys.argv:
    for path in sorted(setuid | for_root):
        print(f"{lines_of(path):5} {path}{'' if path in setuid else ' (root alone)'}")
count, more = (sum(map(lines_of, files)) for files in (setuid, for_root))
print(f"setuid shifter: {count}, and setupRoot and unsetupRoot, which root alone can start: {more} more")
if most is not None and count > most:
    sys.exit(f"privileged-lines: the setuid program has more than the {most} lines that it may have")
PYTHON
