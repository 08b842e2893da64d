"""What is installed from a wheel is whole: not only the checkout, where every file is there anyway."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import restem

ROOT = Path(__file__).parents[1]

USE = """
import sys
from pathlib import Path
import restem
from restem.labelling import pretrained
from restem.review.rendering import environment, package_data
assert Path(restem.__file__).is_relative_to(sys.argv[1]), restem.__file__
pretrained._pretrained()  # the weights
environment().get_template("report.html"), package_data("report.css")
print(restem.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout, built from a copy, since a build leaves files beside what it builds."""
    pytest.importorskip("setuptools", minversion="77")
    work = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", work / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, work / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run([*command, "-w", work / "dist", work], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = (work / "dist").glob("*.whl")
    return found


def test_every_file_is_in_it(wheel: Path) -> None:
    package = ROOT / "src" / "restem"
    files = {
        f"restem/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert files - held == set()
    assert all(name.startswith(("restem/", f"restem-{restem.__version__}.dist-info/")) for name in held)


def test_it_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", site, wheel]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "PYTHONPATH": str(site)}
    for command in ([sys.executable, "-c", USE, site], [sys.executable, "-m", "restem", "--version"]):
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stdout.strip() == restem.__version__, done.stderr
