#!/usr/bin/env bash
# Branch coverage of native/policy by its unit tests: every branch must have been gone both ways, or this fails and names it.
#
# One kind of branch is left out: those to memory_exhausted(), since memory is never missing in a test (and nothing else follows there).
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
                for branch in row["branches"]:
                    total += 1
                    taken += branch["count"] > 0
                if any(branch["count"] == 0 for branch in row["branches"]):
                    ways = "".join("+" if branch["count"] > 0 else "-" for branch in row["branches"])
                    missed.append(f"{path.parent.name}/{path.name}:{row['line_number']}: {ways}  {code.strip()}")
every = set(pathlib.Path("native/policy").resolve().glob("*.c"))
missed += [f"{path.name}: no test runs it" for path in sorted(every - seen)]
print("\n".join(missed), file=sys.stderr, end="\n" if missed else "")
print(f"coverage: {taken} of {total} branches of native/policy")
sys.exit(1 if missed else 0)
PYTHON
