"""Take every check out of the opener, one at a time, and see that the suite notices: `python tests/mutate_opener.py`.

A check is a `raise RecordError` in the files below, or a call that makes one. For each, the file is written anew with
`pass` in its place, the vectors and the unit tests of the rooms run in a process of their own, and at least one test
must fail. Ends with a table by step; exit code 1 if a check could be taken out unnoticed.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agencybus.errors import Step

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bus" / "agencybus"
FILES = ("wire/envelope.py", "wire/headers.py", "seal/opener.py", "seal/frame.py", "seal/grant.py", "lineage.py")
TESTS = ("tests/vectors", "tests/unit/test_envelope.py", "tests/unit/test_frame.py", "tests/unit/test_lineage.py")
# Calls that are a whole check, with the step they are.
CALLS = {
    "_check_place": 2,
    "_verify_signatures": 4,
    "_check_canonical": 5,
    "_check_body": 1,
    "_check_recipients": 6,
    "_check_withdrawn": 6,
}
STEP_OF_FILE = {"wire/envelope.py": 1, "wire/headers.py": 1, "seal/frame.py": 11, "seal/grant.py": 9, "lineage.py": 7}
STEP_NAMES = [step.name for step in Step]


class Check:
    """One check: the lines of the statement that makes it."""

    def __init__(self, file: str, node: ast.stmt, source: list[str], step: int) -> None:
        self.file, self.step, self.line = file, step, node.lineno
        self.text = " ".join(line.strip() for line in source[node.lineno - 1 : node.end_lineno])
        indent = " " * node.col_offset
        self.mutant = "\n".join([*source[: node.lineno - 1], f"{indent}pass", *source[node.end_lineno or 0 :]])


def _step(file: str, node: ast.stmt) -> int:
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr in STEP_NAMES:
            return STEP_NAMES.index(part.attr) + 1
    return STEP_OF_FILE[file]


def checks() -> Iterator[Check]:
    for file in FILES:
        source = (PACKAGE / file).read_text()
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Raise) and node.exc is not None and "TypeError" not in ast.unparse(node.exc):
                if not isinstance(node.exc, ast.Name):
                    yield Check(file, node, lines, _step(file, node))
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                called = node.value.func
                if isinstance(called, ast.Name) and called.id in CALLS:
                    yield Check(file, node, lines, CALLS[called.id])


def passes(check: Check | None = None) -> bool:
    """Whether the suite passes; with a check taken out, if one is given."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder) / "agencybus", ignore=shutil.ignore_patterns("__pycache__"))
        if check is not None:
            (Path(folder) / "agencybus" / check.file).write_text(check.mutant + "\n")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS]
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in {0, 1, 2}:
            raise SystemExit(done.stdout + done.stderr)
        return done.returncode == 0


def main() -> int:
    if not passes():
        raise SystemExit("the suite fails as it is; mend that first")
    found = sorted(checks(), key=lambda check: (check.step, check.file, check.line))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        survived = []
        for check, alive in zip(found, pool.map(passes, found), strict=True):
            sys.stdout.write("!" if alive else ".")
            sys.stdout.flush()
            if alive:
                survived.append(check)
    sys.stdout.write("\n\nstep  checks  noticed when taken out\n")
    total, missed = Counter(c.step for c in found), Counter(c.step for c in survived)
    for step in range(1, 14):
        sys.stdout.write(f"{step:4}  {total[step]:6}  {total[step] - missed[step]:6}\n")
    for check in survived:
        sys.stdout.write(f"not noticed: {check.file}:{check.line}  step {check.step}  {check.text[:100]}\n")
    if empty := [step for step in range(1, 14) if not total[step]]:
        sys.stdout.write(f"no check found for steps {empty}\n")
    return 1 if survived or empty else 0


if __name__ == "__main__":
    raise SystemExit(main())
