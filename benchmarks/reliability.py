"""What is tried to make restem fail without a word: the tests that do harm, run, counted, and printed as a table.

    python benchmarks/reliability.py

A test fails when a command ends in a traceback, hangs, loses something without saying so, changes the dataset, or gives
an earlier result as if it were new. One test may try hundreds of damages.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

from common import HERE, parse, publish

ROOT = HERE.parent
WHERE = ("tests/hostile", "tests/review/test_hostile_requests.py", "tests/test_reliability.py", "tests/test_working.py")
QUICK = ("tests/test_working.py",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments = parse(parser)
    counted = run(QUICK if arguments.quick else WHERE)
    print("| what is tried | tests | failed | skipped |\n|---|---|---|---|")
    for file, counts in counted.items():
        print(f"| {idea_of(file)} (`{file}`) | {counts['tests']} | {counts['failed']} | {counts['skipped']} |")
    total: Counter[str] = sum(counted.values(), Counter())
    claims = [("tests that do harm", f"{total['tests']}", ""), ("of these failed", f"{total['failed']}", "0")]
    publish("reliability", claims, {file: dict(counts) for file, counts in counted.items()}, quick=arguments.quick)
    sys.exit(total["failed"] > 0)


def run(where: tuple[str, ...]) -> dict[str, Counter[str]]:
    """Test file -> how many tests there are in it, failed and were skipped."""
    with tempfile.TemporaryDirectory() as aside:
        report = Path(aside) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", *where, f"--junitxml={report}", "-o", "junit_family=xunit1"]
        subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        cases = list(ET.parse(report).getroot().iter("testcase"))
    counted: dict[str, Counter[str]] = {}
    for case in cases:
        counts = counted.setdefault(case.attrib["file"], Counter(tests=0, failed=0, skipped=0))
        found: Any = {child.tag for child in case}
        counts["tests"] += 1
        counts["failed"] += bool(found & {"failure", "error"})
        counts["skipped"] += "skipped" in found
    return dict(sorted(counted.items()))


def idea_of(file: str) -> str:
    """The first line of what a test file says about itself."""
    text = ast.get_docstring(ast.parse((ROOT / file).read_text(encoding="utf-8"))) or file
    return text.splitlines()[0].rstrip(".")


if __name__ == "__main__":
    main()
