#!/usr/bin/env bash
# Branch coverage of native/policy by its unit tests: every branch must have been gone both ways, or this fails and names it.
#
# Two kinds are left out: the way to memory_exhausted(), since memory is never missing in a test, and in "... || fail(...)" the way on when
# the refusal is true, which it never is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=build-native-cov
[[ -e $build/build.ninja ]] || meson setup "$build" native -Db_coverage=true -Dbuildtype=debug >/dev/null
ninja --quiet -C "$build" >/dev/null || ninja -C "$build"
find "$build" -name '*.gcda' -delete
meson test -C "$build" --quiet --print-errorlogs --suite policy >/dev/null || meson test -C "$build" --print-errorlogs --suite policy

python3 - "$build"/libpolicy.a.p/policy_*.gcda <<'PYTHON'
import json
import pathlib
import re
import subprocess
import sys

EXHAUSTED = re.compile(r"\bmemory_exhausted\(\)")
REFUSAL = re.compile(r"\|\| (fail|invalid|refuse\w*)\(")
total = taken = 0
missed = []
seen = set()
for data in sys.argv[1:]:
    where = pathlib.Path(data).resolve()
    text = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", where.name], cwd=where.parent, check=True, stdout=subprocess.PIPE).stdout
    for line in text.splitlines():
        for file in json.loads(line)["files"]:
            path = pathlib.Path(where.parent, "..", file["file"]).resolve()
            if not re.search(r"/native/policy/\w+\.c$", str(path)):
                continue
            seen.add(path)
            source = path.read_text().splitlines()
            for row in file["lines"]:
                code = source[row["line_number"] - 1]
                if EXHAUSTED.search(code):
                    continue
                ways = "".join("+" if branch["count"] > 0 else "-" for branch in row["branches"])
                if REFUSAL.search(code) and ways.endswith("-+"):
                    ways = ways[:-2]
                total += len(ways)
                taken += ways.count("+")
                if "-" in ways:
                    missed.append(f"{path.parent.name}/{path.name}:{row['line_number']}: {ways}  {code.strip()}")
every = set(pathlib.Path("native/policy").resolve().glob("*.c"))
missed += [f"{path.name}: no test runs it" for path in sorted(every - seen)]
print("\n".join(missed), file=sys.stderr, end="\n" if missed else "")
print(f"coverage: {taken} of {total} branches of native/policy")
sys.exit(1 if missed else 0)
PYTHON
