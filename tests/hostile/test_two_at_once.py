"""Two processes, or threads, that work in one OUT at the same time, and what killed ones leave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from restem.audio.store import Store
from restem.dataset.layouts import open_dataset
from restem.errors import DatasetError, RunError
from restem.labelling.refining import refine_labels
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
from restem.runs.export import export
from restem.separation.separator import SeparatorConfig
from restem.separation.songs import separate

QUICK = RefineSettings(
    rounds=1, folds=1, steps=1, training=TrainingSettings(batch=8, epoch_steps=4, validation_mixtures=8)
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable) -> Path:
    root = tmp_path_factory.mktemp("finished")
    band_writer(root / "songs", songs=2, seconds=2.0)
    refine_labels(open_dataset(root / "songs"), root / "run", QUICK, cache=root / "cache", workers=1)
    return root


def at_once(count: int, work: Callable[[], object]) -> list[Exception]:
    """Does the same in several threads; returns their errors."""
    errors: list[Exception] = []
    start = threading.Barrier(count)

    def attempt() -> None:
        start.wait()
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_exports(finished: Path, tmp_path: Path) -> None:
    """One of them makes the folder, whole; the others are told."""
    for number in range(10):
        out = tmp_path / f"out{number}"
        errors = at_once(3, lambda out=out: export(finished / "run", out, link="copy"))
        assert len(errors) == 2 and all(isinstance(error, DatasetError) for error in errors)
        assert all((out / path).is_file() for path in pl.read_csv(out / "stems.csv")["path"])
    assert all(not path.name.startswith(".") for path in tmp_path.iterdir())


def test_refinements(finished: Path, tmp_path: Path) -> None:
    """One goes on to its end; the other says who is at work."""
    dataset = open_dataset(finished / "songs")
    begun, told = threading.Event(), threading.Event()

    def wait(stage: str, *_: object) -> None:
        if "training" in stage:
            begun.set()
            told.wait(60)

    first = threading.Thread(
        target=lambda: refine_labels(
            dataset, tmp_path / "run", QUICK, cache=tmp_path / "cache", workers=1, progress=wait
        )
    )
    first.start()
    assert begun.wait(60)
    with pytest.raises(RunError, match=r"process \d+ on .* works in it; wait until it has ended"):
        refine_labels(dataset, tmp_path / "run", QUICK, cache=tmp_path / "cache", workers=1)
    told.set()
    first.join()
    assert refine_labels(dataset, tmp_path / "run", QUICK, cache=tmp_path / "cache", workers=1).labels.height == 8
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "classifier", "labels.csv", "segments.parquet", "run.json"
    }  # fmt: skip


def test_separations(finished: Path, tmp_path: Path) -> None:
    """The same song twice at once is the same folder, whoever ends first."""
    separator = SeparatorConfig("band_split", ("vocals", "drums"), rate_hz=16000, segment_s=0.5).build().eval()
    song = finished / "songs" / "Song 1" / "other.wav"
    summaries = []
    assert at_once(3, lambda: summaries.append(separate(separator, song, tmp_path / "out", device="cpu"))) == []
    assert [summary.failed for summary in summaries] == [{}] * 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other"]


def test_parts_of_killed_runs_are_removed(tmp_path: Path, run_python: Callable) -> None:
    program = """
import os, sys
from pathlib import Path
from restem.audio.store import Store
from restem.audio import store
def kill(*_): os.kill(os.getpid(), 9)
store.mel_power = kill
Store(Path(sys.argv[2])).compute((Path(sys.argv[1]), 0))
"""
    soundfile.write(tmp_path / "a.wav", np.ones(16000) / 2, 16000)
    assert run_python(program, tmp_path / "a.wav", tmp_path / "cache").returncode == -9
    assert [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".part"]
    assert Store(tmp_path / "cache").fill([(tmp_path / "a.wav", 0)]) == {}
    assert [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".mel"]
