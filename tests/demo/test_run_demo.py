"""The demo as `restem demo` runs it, on 4 short songs and with trainings of 2 steps."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from restem.cli.comparisons import print_demo
from restem.demo.demo import DemoResult, run_demo
from restem.errors import DatasetError
from restem.labelling.classifier import load_classifier
from restem.taxonomy import DEFAULT_CLASSES

SONGS, HELD_OUT = 4, 2

Finished = tuple[DemoResult, Callable[[], DemoResult]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A finished demo, and the same call again."""
    folder = tmp_path_factory.mktemp("demo")

    def call() -> DemoResult:
        return run_demo(
            folder / "out", songs=SONGS, song_seconds=4.0, held_out_songs=HELD_OUT, steps=2, seed=1, separate=True,
            device="cpu", workers=1, cache=folder / "cache",
        )  # fmt: skip

    return call(), call


def state(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every file below a folder: a file that was replaced has another number, one that was written to another time."""
    files = {str(path.relative_to(root)): path.stat() for path in root.rglob("*") if path.is_file()}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in files.items()}


def test_leaves_the_files_that_its_docstring_names(finished: Finished) -> None:
    out = finished[0].out
    songs = [f"song{number:03d}" for number in range(SONGS)]
    for folder in (out / "band", out / "noisy", out / "compared" / "stems"):
        assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == songs
        for song in songs:
            # Two stems of a class are `other` and `other_2`.
            assert {path.stem.partition("_")[0] for path in (folder / song).iterdir()} <= set(DEFAULT_CLASSES)
    assert (out / "noisy" / "truth.csv").is_file()
    for name in ("labels.csv", "segments.parquet", "run.json", "report.html"):
        assert (out / "run" / name).is_file()
        assert (out / "compared" / "run" / name).is_file()
    assert list((out / "refined").rglob("*.flac"))
    assert len(list((out / "compared" / "songs").iterdir())) == HELD_OUT
    for classifier in (out / "compared" / "noisy", out / "compared" / "clean", out / "run" / "classifier"):
        assert load_classifier(classifier).config.classes == DEFAULT_CLASSES
    for labels in ("given", "refined"):
        assert (out / "separation" / labels / "result" / "songs.csv").is_file()
    assert {path.stem for path in (out / "separated" / "song").glob("*.flac")} == set(DEFAULT_CLASSES)


def test_demo_json_holds_the_figures(finished: Finished) -> None:
    result = finished[0]
    content = json.loads((result.out / "demo.json").read_text(encoding="utf-8"))
    assert content["labels"] == result.labels.as_dict()
    assert content["swapped"] == result.swapped.as_dict()
    assert content["mixtures"] == result.mixtures
    assert list(content["mixtures"]) == ["noisy", "refined", "clean"]
    assert all(0.0 <= accuracy <= 1.0 for accuracy in content["mixtures"].values())
    assert content["separators"] == {name: table["sdr"].mean() for name, table in result.separators.items()}
    assert content["settings"]["seed"] == 1
    assert content["settings"]["steps"] == 2
    assert content["seconds"] == pytest.approx(result.seconds, abs=0.051)


@pytest.mark.parametrize(("folder", "of"), [("noisy", "labels"), ("compared/stems", "swapped")])
def test_the_accuracy_of_the_given_labels_is_that_of_truth_csv(finished: Finished, folder: str, of: str) -> None:
    result = finished[0]
    score = getattr(result, of)
    with (result.out / folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = [(set(row["given"].split("+")), set(row["true"].split("+"))) for row in csv.DictReader(file)]
    assert score.stems == len(rows)
    right = [(name in given) == (name in true) for given, true in rows for name in DEFAULT_CLASSES]
    assert not all(right)  # something was mixed up
    assert score.given.label_accuracy == pytest.approx(right.count(True) / len(right))


def test_what_labels_are_worth_is_printed_and_said(finished: Finished) -> None:
    result = finished[0]
    out = io.StringIO()
    print_demo(result, Console(file=out, width=120))
    lines = [line.split() for line in out.getvalue().splitlines()]
    rows = {
        line[0]: [float(cell) for cell in line[-2:]] for line in lines if line[1:2] == ["labels"] and len(line) == 4
    }
    labels = {"noisy": result.swapped.given, "refined": result.swapped.refined}
    for name, accuracy in result.mixtures.items():
        right = labels[name].label_accuracy if name in labels else 1.0
        assert rows[name] == pytest.approx([right, accuracy], abs=0.00051)
    sentence = next(line for line in lines if line[:2] == ["Compared", "with"])
    lost = [100 * (result.mixtures["clean"] - result.mixtures[name]) for name in ("noisy", "refined")]
    assert [float(word) for word in sentence if word.strip("-").replace(".", "").isdigit()] == pytest.approx(
        lost, abs=0.051
    )


def test_the_classifiers_differ(finished: Finished) -> None:
    compared = finished[0].out / "compared"
    weights = [(compared / name / "model.safetensors").read_bytes() for name in ("noisy", "clean")]
    assert weights[0] != weights[1]


def test_called_again_it_keeps_every_file(finished: Finished) -> None:
    first, again = finished
    before = state(first.out)
    second = again()
    assert state(first.out) == before
    assert second.mixtures == first.mixtures
    assert second.labels == first.labels
    assert second.swapped == first.swapped
    assert all(second.separators[name].equals(first.separators[name]) for name in ("given", "refined"))


def test_needs_4_songs(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="4 songs"):
        run_demo(tmp_path / "out", songs=3)
    assert not (tmp_path / "out").exists()
