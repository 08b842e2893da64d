"""Broken audio through the decoder and through every command.

A fault or traceback, a hang (the tests' timeout), a stem that is shorter than it should be without a word, or a change
of the dataset is a failure.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from broken_audio import RATE_HZ, Broken, flips, kinds, sound

from restem.audio.reader import LOUDEST, open_audio
from restem.cli.main import run_command
from restem.errors import AudioError

CLASSES = ("vocals", "drums", "bass", "other")
TINY = ("--set", "width=8", "--set", "depth=1", "--set", "bands=12", "--set", "n_fft=512", "--set", "hop=256")

# Encoders add and cut a little at both ends.
TOLERANCE_S = 0.25


def looked_at(path: Path) -> tuple[str, float, str]:
    """What becomes of a file, its seconds, and the note or reason. Whatever is no AudioError is a fault."""
    try:
        with open_audio(path) as audio:
            frames = 0
            for block in audio.blocks():
                assert np.abs(block).max() <= LOUDEST
                frames += block.shape[1]
            return ("noted" if audio.note else "whole"), frames / audio.info.rate_hz, audio.note
    except AudioError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return "failed", 0.0, str(error)


def wrong(kind: Broken, outcome: str, seconds: float) -> str:
    """What is wrong with what became of a file, or nothing."""
    if kind.outcome != "told" and outcome != kind.outcome:
        return f"{kind.name}: is {outcome}, not {kind.outcome}"
    if outcome == "whole" and seconds < kind.seconds - TOLERANCE_S:
        return f"{kind.name}: {seconds:.2f} s of {kind.seconds:.2f} s are used without a word"
    return ""


def test_nothing_is_lost_without_a_word(tmp_path: Path) -> None:
    faults = []
    for number, kind in enumerate(kinds(tmp_path)):
        path = tmp_path / f"{number}.{kind.extension}"
        path.write_bytes(kind.content)
        outcome, seconds, _ = looked_at(path)
        faults += [wrong(kind, outcome, seconds)]
        path.unlink()
    assert not any(faults), "\n".join(filter(None, faults))


def test_single_bytes_of_headers(tmp_path: Path) -> None:
    """There is always an answer: a damaged header may state another rate or length, but never ends in a fault."""
    outcomes = set()
    for number, kind in enumerate(flips(tmp_path)):
        path = tmp_path / f"{number}.{kind.extension}"
        path.write_bytes(kind.content)
        outcomes.add(looked_at(path)[0])
        path.unlink()
    assert outcomes == {"whole", "noted", "failed"}


class TestCommands:
    """All kinds in one dataset, beside some whole songs, and every command that reads audio over it."""

    @pytest.fixture(scope="class")
    @classmethod
    def broken(cls, tmp_path_factory: pytest.TempPathFactory) -> list[Broken]:
        return list(kinds(tmp_path_factory.mktemp("encoded")))

    @pytest.fixture(scope="class")
    @classmethod
    def root(cls, tmp_path_factory: pytest.TempPathFactory, broken: list[Broken]) -> Path:
        root = tmp_path_factory.mktemp("hostile") / "songs"
        for number in range(6):
            for which, name in enumerate(CLASSES):
                write(root / f"Whole {number}" / f"{name}.wav", sound() * (0.2 + 0.2 * which))
        for number, kind in enumerate(broken):
            folder = root / f"Song {number // 4:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{CLASSES[number % 4]}.{kind.extension}").write_bytes(kind.content)
        return root

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, root: Path) -> Path:
        options = ("--rounds", "1", "--folds", "2", "--steps", "2", "--device", "cpu", "--workers", "1")
        call("refine", root, "--out", root.parent / "run", "--cache", root.parent / "cache", *options)
        return root.parent / "run"

    @pytest.fixture(scope="class")
    @classmethod
    def separator(cls, root: Path, run: Path) -> Path:
        options = ("--steps", "2", "--segment-s", "0.5", "--batch", "2", "--rate-hz", RATE_HZ, "--device", "cpu", *TINY)
        out = root.parent / "separator"
        call("train", run, "--out", out, "--unsure", "--cache", root.parent / "cache", "--workers", "1", *options)
        return out

    @pytest.fixture(autouse=True)
    def unchanged(self, root: Path, snapshot: Callable) -> Iterator[None]:
        """The dataset is never written to."""
        before = snapshot(root)
        yield
        assert snapshot(root) == before

    def kind_of(self, broken: list[Broken], stem: str) -> Broken | None:
        path = Path(stem)
        if path.parent.name.startswith("Whole"):
            return None
        return broken[4 * int(path.parent.name.split()[1]) + CLASSES.index(path.stem)]

    def test_scan(self, root: Path, broken: list[Broken]) -> None:
        out = call("scan", root, "--csv", root.parent / "scan.csv", "--workers", "2")
        table = pl.read_csv(root.parent / "scan.csv", schema_overrides={"note": pl.String, "error": pl.String})
        faults, seen = [], 0
        for row in table.iter_rows(named=True):
            kind = self.kind_of(broken, row["stem"])
            outcome = "failed" if row["error"] else "noted" if row["note"] else "whole"
            seen += kind is not None
            if kind is None:
                assert outcome == "whole"
            else:
                faults.append(wrong(kind, outcome, row["seconds"] or 0.0))
        assert not any(faults), "\n".join(filter(None, faults))
        assert seen == len(broken) and "used with a note: " in out

    def test_refine_report_and_export(self, root: Path, run: Path, broken: list[Broken]) -> None:
        labels = pl.read_csv(run / "labels.csv")
        described = json.loads((run / "run.json").read_text())
        assert len(labels) == len(broken) + 24
        for row in labels.iter_rows(named=True):
            kind = self.kind_of(broken, row["stem"])
            outcome = (
                "failed" if row["verdict"] == "failed" else "noted" if row["stem"] in described["notes"] else "whole"
            )
            assert (row["stem"] in described["failures"]) == (outcome == "failed")
            if kind is not None:
                assert not wrong(kind, outcome, row["seconds"] or 0.0)
                quiet = kind.seconds < 0.1 or kind.name in ("silent", "denormal") or kind.outcome == "told"
                assert quiet or row["verdict"] != "silent", kind.name
        call("report", run, "--audio")
        assert "Used with a note" in (run / "report.html").read_text()
        call("export", run, root.parent / "exported", "--link", "copy")

    def test_corrupt(self, root: Path, broken: list[Broken]) -> None:
        for kind in ("regroup", "partial"):
            out = root.parent / kind
            call("corrupt", root, out, "--kind", kind, "--workers", "2", expected=1)
            failed = json.loads((out / "corrupt.json").read_text())["failed"]
            songs = {f"Song {number // 4:03d}" for number, one in enumerate(broken) if one.outcome == "failed"}
            assert songs <= failed.keys() and not any(song.startswith("Whole") for song in failed)
            assert {path.name for path in out.iterdir() if path.is_dir()}.isdisjoint(failed)

    def test_train_and_separate(self, root: Path, separator: Path, broken: list[Broken]) -> None:
        songs = sorted(path for path in root.rglob("*.*"))
        out = root.parent / "separated"
        call("separate", separator, *songs, "--out", out, "--device", "cpu", expected=1)
        kind_of = {song: self.kind_of(broken, str(song.relative_to(root))) for song in songs}
        loud = [song for song, kind in kind_of.items() if kind is not None and "scaled" in kind.name]
        for extension in ("mp3", "ogg", "flac"):
            call("separate", separator, *loud, "--out", root.parent / extension, "--format", extension)
        made = {Path(json.loads(path.read_text())["song"]) for path in out.rglob("restem.json")}
        for song in songs:
            kind = kind_of[song]
            if kind is None or kind.outcome != "told":
                assert (song in made) == (kind is None or kind.outcome != "failed"), kind

    def test_evaluate(self, root: Path, separator: Path) -> None:
        call("evaluate", "--estimates", root, root, "--out", root.parent / "estimates", expected=1)
        call("evaluate", separator, root, "--out", root.parent / "evaluated", "--device", "cpu", expected=1)
        for name in ("estimates", "evaluated"):
            summary = json.loads((root.parent / name / "summary.json").read_text())
            assert not any(song.startswith("Whole") for song in summary["failed"]) and summary["notes"]


def write(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE_HZ)


def call(*arguments: object, expected: int = 0) -> str:
    """Runs a command; returns what it prints. Anything but the `expected` status is a failure."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        status = run_command([str(argument) for argument in arguments])
    said = out.getvalue() + error.getvalue()
    assert "Traceback" not in said and "fault in restem" not in said, said[-3000:]
    assert status == expected, said[-3000:]
    return said


LIMITED = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
from restem.cli.main import run_command
sys.exit(any([run_command(command) for command in json.loads(sys.argv[2])]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_more_stems_than_open_files(tmp_path: Path, run_python: Callable) -> None:
    """As with `ulimit -n`: half as many files may be open as there are stems."""
    root = tmp_path / "songs"
    samples = sound(seconds=0.6)
    for number in range(32):
        for which, name in enumerate(CLASSES):
            path = root / f"Song {number}" / f"{name}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples * (0.2 + 0.2 * which), RATE_HZ)
    cache = ("--cache", tmp_path / "cache", "--device", "cpu", "--workers", 1)
    tiny = ("--steps", 2, "--segment-s", 0.5, "--batch", 2, "--rate-hz", 8000, *TINY)
    commands = (
        ("refine", root, "--out", tmp_path / "run", "--rounds", 1, "--folds", 2, "--steps", 2, *cache),
        ("train", tmp_path / "run", "--out", tmp_path / "separator", *tiny, "--unsure", *cache),
    )
    done = run_python(LIMITED, 64, json.dumps([[str(part) for part in command] for command in commands]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(pl.read_csv(tmp_path / "run" / "labels.csv")["verdict"]) <= {"kept", "changed", "unsure"}
