"""What the tests of several folders share: sounds to write, and Python in a process of its own, to be killed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, settings

RATE_HZ = 16000

# A busy machine is no failure, so no property has a deadline; the same examples every time, so that a failure repeats.
settings.register_profile(
    "restem", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("restem")

WriteBand = Callable[..., Path]
RunPython = Callable[..., subprocess.CompletedProcess[str]]
StartPython = Callable[..., "subprocess.Popen[str]"]


def play(name: str, song: int, seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """(sample,): one of four sounds a small classifier can tell apart, another one in each song."""
    rng = np.random.default_rng([song, *name.encode()])
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    if name == "vocals":
        pitch_hz = rng.uniform(300, 500)
        phase = 2 * np.pi * pitch_hz * time_s + 3 * np.sin(2 * np.pi * 6 * time_s)
        sound = sum(np.sin(n * phase) / n for n in range(1, 6))
    elif name == "drums":
        sound = rng.standard_normal(len(time_s)) * np.exp(-30 * (time_s % rng.uniform(0.2, 0.4)))
    elif name == "bass":
        sound = np.sin(2 * np.pi * rng.uniform(50, 100) * time_s)
    else:
        sound = sum(np.sin(2 * np.pi * f * time_s) for f in rng.uniform(1500, 5000, 3))
    return np.asarray(0.2 * sound / np.abs(sound).max(), np.float32)


def _write_band(
    root: Path, songs: int = 3, seconds: float = 5.0, wrong: Mapping[tuple[int, str], str] | None = None
) -> Path:
    """Songs of four sounds each as 16-bit mono WAV. wrong: (song, name) -> the sound that is there instead."""
    for song in range(songs):
        folder = root / f"Song {song + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("vocals", "drums", "bass", "other"):
            sound = play((wrong or {}).get((song, name), name), song, seconds)
            soundfile.write(folder / f"{name}.wav", sound, RATE_HZ, subtype="PCM_16")
    return root


@pytest.fixture(scope="session", autouse=True)
def _no_encoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a machine has installed must not change results; tests that need an encoder install their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTEM_ENCODERS", str(tmp_path_factory.mktemp("encoders")))
        yield


@pytest.fixture
def write_band() -> WriteBand:
    """`write_band(root, songs=3, seconds=5.0)`; see `_write_band`."""
    return _write_band


@pytest.fixture(scope="session")
def band_writer() -> WriteBand:
    """The same for fixtures that last longer than a test."""
    return _write_band


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@pytest.fixture
def run_python() -> RunPython:
    """Runs a program to its end: `run_python("print(1)", argument, ...)`."""

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def start_python() -> Iterator[StartPython]:
    """Starts `python ARGUMENTS...` in a process group of its own; what is left of it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()


TONE_RATE_HZ = 8000
TONES_HZ = {"vocals": 440.0, "drums": 1500.0, "bass": 80.0, "other": 700.0}

Tree = Callable[[Path, Iterable[str]], Path]
WriteSongs = Callable[..., Path]


@pytest.fixture
def tree() -> Tree:
    """Makes empty files: `tree(root, ["Song A/vocals.wav", ...])`."""

    def make(root: Path, paths: Iterable[str]) -> Path:
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        return root

    return make


@pytest.fixture
def write_songs() -> WriteSongs:
    """Writes songs of four tones with a little noise each, 16-bit FLAC: `write_songs(root, songs=3)`."""

    def write(
        root: Path,
        songs: int = 3,
        seconds: float = 1.0,
        classes: Iterable[str] = tuple(TONES_HZ),
        amplitude: float = 0.1,
        channels: Mapping[str, int] | None = None,
    ) -> Path:
        for song in range(songs):
            rng = np.random.default_rng(song)
            for name in classes:
                time_s = np.arange(round(seconds * TONE_RATE_HZ)) / TONE_RATE_HZ
                sound = amplitude * np.sin(2 * np.pi * TONES_HZ[name] * (1 + song / 50) * time_s)
                sound = sound[:, None] + 0.1 * amplitude * rng.standard_normal(
                    (len(time_s), (channels or {}).get(name, 2))
                )
                folder = root / f"Song {song + 1}"
                folder.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / f"{name}.flac", sound, TONE_RATE_HZ, subtype="PCM_16")
        return root

    return write


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, str]]:
    """The content of every file below a folder, links followed and named: equal before and after if nothing changed."""

    def take(root: Path) -> dict[str, str]:
        return {
            str(path.relative_to(root)): f"{path.is_symlink()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    return take
