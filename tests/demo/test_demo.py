from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from restem.api import refine
from restem.cli.comparisons import print_separators
from restem.dataset.corrupt import corrupt
from restem.dataset.layouts import open_dataset
from restem.demo.separation import compare_separators
from restem.separator_api import evaluate


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> dict:
    folder = tmp_path_factory.mktemp("demo")
    band = open_dataset(band_writer(folder / "band", songs=3, seconds=4.0))
    unheard = open_dataset(band_writer(folder / "unheard", songs=2, seconds=4.0))
    corrupt(band, folder / "noisy", kind="regroup", rate=0.3, seed=1, workers=1)
    noisy = open_dataset(folder / "noisy")
    run = refine(noisy, folder / "run", rounds=1, folds=1, steps=3, cache=folder / "cache", workers=1)

    def compare() -> dict[str, pl.DataFrame]:
        return dict(compare_separators(noisy, run, unheard, folder / "out", seed=0, steps=2, cache=folder / "cache"))

    return {"folder": folder / "out", "unheard": unheard, "first": compare(), "again": compare}


class TestCompareSeparators:
    def test_measures_what_evaluate_measures(self, compared: dict) -> None:
        for name in ("given", "refined"):
            model = compared["folder"] / "separation" / name
            expected = evaluate(compared["unheard"], model=model, device="cpu").songs
            found = compared["first"][name]
            assert found["song"].to_list() == expected["song"].to_list()
            assert found["sdr"].to_list() == pytest.approx(expected["sdr"].to_list(), abs=1e-3)

    def test_the_separators_differ(self, compared: dict) -> None:
        assert compared["first"]["given"]["sdr"].to_list() != compared["first"]["refined"]["sdr"].to_list()

    def test_takes_a_song_apart(self, compared: dict) -> None:
        names = {path.stem for path in (compared["folder"] / "separated" / "song").glob("*.flac")}
        assert names == set(compared["unheard"].taxonomy.classes)

    def test_what_is_there_is_kept(self, compared: dict) -> None:
        files = sorted(
            path for path in compared["folder"].rglob("*") if path.suffix in (".safetensors", ".csv", ".flac")
        )
        before = [path.stat().st_mtime_ns for path in files]
        again = compared["again"]()
        assert [path.stat().st_mtime_ns for path in files] == before
        assert all(again[name].equals(compared["first"][name]) for name in again)

    def test_printed(self, compared: dict) -> None:
        out = io.StringIO()
        print_separators(compared["first"], Console(file=out, width=120))
        last = out.getvalue().strip().splitlines()[-1].split()
        assert last[0] == "all"
        means = [compared["first"][name]["sdr"].mean() for name in ("given", "refined")]
        assert [float(value) for value in last[2:4]] == pytest.approx(means, abs=0.006)
        assert float(last[4]) == pytest.approx(means[1] - means[0], abs=0.011)
