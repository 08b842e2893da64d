"""Every benchmark has a quick run, `--quick`, that works and leaves no trace in the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def scripts() -> list[Path]:
    """The files in `benchmarks/` that can be run: those with a `main`."""
    files = sorted((ROOT / "benchmarks").glob("*.py"))
    return [path for path in files if re.search(r"^def main\(", path.read_text(encoding="utf-8"), re.MULTILINE)]


def state(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder, but for what tools keep in folders of their own."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        for name in names:
            path = Path(folder, name)
            stat = path.lstat()
            found[str(path.relative_to(root))] = (stat.st_size, stat.st_mtime_ns)
    return found


def test_scripts_are_found() -> None:
    names = {path.stem for path in scripts()}
    assert {"ablations", "labels", "separation", "waiting"} <= names
    assert not names & {"common", "browser", "label_methods", "label_situations", "separation_figures"}


@pytest.mark.slow
@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.stem)
def test_quick_run(script: Path, tmp_path: Path) -> None:
    needs_chromium = re.search(r"^from browser import", script.read_text(encoding="utf-8"), re.MULTILINE)
    if needs_chromium and shutil.which("chromium") is None:
        pytest.skip("there is no chromium")
    if script.stem == "cluster":
        pytest.importorskip("ray")
    before = state(ROOT)
    work = tmp_path / "work"
    work.mkdir()
    # Whatever is cached, too, belongs into the test's folder.
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, script, "--quick"], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert state(ROOT) == before
    assert not list(work.iterdir())
