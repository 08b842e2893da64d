from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

import restem
from restem.runs.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> Run:
    root = tmp_path_factory.mktemp("api")
    dataset = restem.open_dataset(band_writer(root / "songs", songs=2, seconds=4.0))
    return restem.refine(
        dataset, root / "run", rounds=1, folds=1, steps=3, seed=5, cache=root / "cache", workers=1, licence="CC0"
    )


def test_refine_leaves_a_report_and_keeps_the_settings(run: Run) -> None:
    assert (run.path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    settings = run.description["settings"]
    assert (settings["rounds"], settings["folds"], settings["training"]["steps"], settings["seed"]) == (1, 1, 3, 5)
    assert run.description["licence"] == "CC0"


def test_refine_again_reads_back(run: Run) -> None:
    before = (run.path / "report.html").stat().st_mtime_ns
    again = restem.refine(
        restem.open_dataset(run.dataset_root), str(run.path), rounds=1, folds=1, steps=3, seed=5, licence="CC0"
    )
    assert again.labels.equals(run.labels)
    assert (run.path / "report.html").stat().st_mtime_ns == before


def test_score_takes_a_run_or_its_path(run: Run, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    rows = [f"{row['song']},{row['stem']},{row['given']},{row['given']}" for row in run.labels.iter_rows(named=True)]
    truth.write_text("song,stem,given,true\n" + "\n".join(rows) + "\n")
    assert restem.score(run, truth).as_dict() == restem.score(str(run.path), str(truth)).as_dict()


def test_report_goes_where_it_is_wanted(run: Run, tmp_path: Path) -> None:
    assert restem.report(run.path, tmp_path / "r.html") == tmp_path / "r.html"
    assert (tmp_path / "r.html").read_bytes() == (run.path / "report.html").read_bytes()


def test_every_verb_is_there_and_documented() -> None:
    for name in restem.__all__:
        thing = getattr(restem, name)
        assert name == "__version__" or inspect.getdoc(thing), name
    assert dir(restem) == sorted(restem.__all__)
    with pytest.raises(AttributeError, match="no attribute 'seperate'"):
        _ = restem.seperate


def test_errors_of_the_api(tmp_path: Path, run: Run) -> None:
    with pytest.raises(restem.UsageError):
        restem.refine(restem.open_dataset(run.dataset_root), tmp_path / "run", size="huge")
    with pytest.raises(restem.RunError, match="no such run folder"):
        restem.open_run(tmp_path / "nowhere")
    with pytest.raises(restem.RestemError):
        restem.load_classifier(tmp_path)
    classifier = restem.load_classifier(run.path / "classifier")
    config = classifier.config
    assert not classifier.training and config.licence == "CC0"


def test_import_is_light(run_python: Callable) -> None:
    """Numbers, tables and audio are loaded when a verb needs them."""
    program = """
import sys, restem
restem.Taxonomy(("vocals",))
print(sorted({"torch", "polars", "numpy", "scipy", "lightning", "soundfile", "av", "rich"} & set(sys.modules)))
"""
    assert run_python(program).stdout == "[]\n"
