"""The wheel in which musicnn is published: how it is fetched, and what is read from it.

musicnn 0.1.0 wants TensorFlow and an old numpy, so it is never installed; pip only downloads it. Its weights are data
in the wheel, a zip file. Nothing of its code is run.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from restem.content import file_sha256
from restem.errors import RestemError

WHEEL = "musicnn-0.1.0-py3-none-any.whl"
_REQUIREMENT = "musicnn==0.1.0"
_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_LARGEST_MEMBER = 1 << 25  # bytes; the largest checkpoint has 9.5 million
_TIMEOUT_S = 900

CHECKPOINTS = {
    "musicnn": "MTT_musicnn", "musicnn-msd": "MSD_musicnn", "musicnn-vgg": "MTT_vgg", "musicnn-vgg-msd": "MSD_vgg",
}  # fmt: skip
"""Name of an encoder -> name of its checkpoint in the wheel."""


@dataclass(frozen=True)
class MusicnnFiles:
    """What the wheel holds of one checkpoint. licence: the text of the licence. tag_names: what it can tell apart."""

    index: bytes
    data: bytes
    licence: str
    tag_names: tuple[str, ...]


@contextmanager
def musicnn_wheel(given: Path | None) -> Iterator[Path]:
    """The wheel, checked: the one at `given`, or else one that pip downloads to a temporary folder.

    Raises RestemError when it cannot be downloaded, or is another file than expected.
    """
    with TemporaryDirectory(prefix="restem-") as folder:
        wheel = given or _download(Path(folder))
        try:
            found = file_sha256(wheel)
        except OSError as error:
            raise RestemError(f"{wheel}: {(error.strerror or 'cannot be read').lower()}.") from error
        if found != _SHA256:
            raise RestemError(f"{wheel}: is not {WHEEL} as it was published (its sha256 differs).")
        yield wheel


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--retries", "1", "--timeout", "20", "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), _REQUIREMENT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        reason = (done.stderr.strip().splitlines() or [""])[-1]
    except subprocess.TimeoutExpired:
        reason = "it took too long"
    if not (folder / WHEEL).is_file():
        reason = reason.removeprefix("ERROR: ").rstrip(".") or "pip failed"
        raise RestemError(
            f"{_REQUIREMENT} could not be downloaded: {reason}.\n"
            f"Try again with network, or bring the file {WHEEL} and name it with `wheel`."
        )
    return folder / WHEEL


def read_wheel(wheel: Path, name: str) -> MusicnnFiles:
    """What the wheel holds of the encoder `name`. Raises RestemError when something is missing or too large."""
    checkpoint = CHECKPOINTS[name]
    try:
        with zipfile.ZipFile(wheel) as archive:
            code = _member(archive, "musicnn/configuration.py").decode("utf-8")
            return MusicnnFiles(
                index=_member(archive, f"musicnn/{checkpoint}/.index"),
                data=_member(archive, f"musicnn/{checkpoint}/.data-00000-of-00001"),
                licence=_member(archive, "musicnn-0.1.0.dist-info/LICENSE.md").decode("utf-8").strip(),
                tag_names=_list_in(code, f"{checkpoint[:3]}_LABELS"),
            )
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        raise RestemError(f"{wheel}: cannot be read ({error}).") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > _LARGEST_MEMBER:
        raise ValueError(f"{name} is too large")
    return archive.read(info)


def _list_in(code: str, name: str) -> tuple[str, ...]:
    """The list of words that is assigned to `name` in Python code, which is parsed, not run."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
            return tuple(str(word) for word in ast.literal_eval(node.value))
    raise ValueError(f"{name} is not in it")
