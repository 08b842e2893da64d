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
    assert (settings["rounds"], settings["folds"], settings["steps"], settings["seed"]) == (1, 1, 3, 5)
    assert run.description["licence"] == "CC0"


def test_stages_are_logged_and_nothing_is_printed(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = restem.RefineSettings(rounds=1, folds=1, steps=1)
    restem.refine(run.dataset_root, tmp_path / "quiet", settings, cache=tmp_path / "cache", workers=1)
    assert capfd.readouterr() == ("", "") and not caplog.records
    with caplog.at_level("INFO", "restem"):
        restem.refine(run.dataset_root, tmp_path / "told", settings, cache=tmp_path / "cache", workers=1)
    stages = [record.message for record in caplog.records if record.name == "restem"]
    assert stages == list(run.description["stages"]) and len(stages) > 2


def test_refine_again_reads_back(run: Run) -> None:
    before = (run.path / "report.html").stat().st_mtime_ns
    again = restem.refine(
        restem.open_dataset(run.dataset_root), str(run.path), rounds=1, folds=1, steps=3, seed=5, licence="CC0"
    )
    assert again.labels.equals(run.labels)
    assert (run.path / "report.html").stat().st_mtime_ns == before


def test_refine_takes_a_path_and_settings(run: Run) -> None:
    settings = restem.RefineSettings(rounds=1, folds=2, steps=3)
    again = restem.refine(str(run.dataset_root), run.path, settings, folds=1, seed=5, licence="CC0")
    assert again.labels.equals(run.labels)


def test_a_setting_that_is_none_names_the_nearest(run: Run, tmp_path: Path) -> None:
    with pytest.raises(restem.UsageError, match=r"no setting `setps`; did you mean `steps`\?"):
        restem.refine(run.dataset_root, tmp_path / "run", setps=3)
    with pytest.raises(restem.UsageError, match="no setting `zzz`; use one of method, size, start, "):
        restem.refine(run.dataset_root, tmp_path / "run", zzz=3)
    with pytest.raises(restem.UsageError, match="`dataset` must be a dataset or the path of one, not Run"):
        restem.scan(run)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_every_verb_takes_the_path_of_a_dataset(run: Run, tmp_path: Path) -> None:
    root = str(run.dataset_root)
    assert len(restem.scan(root, workers=1)) == 8
    noisy = restem.corrupt(root, tmp_path / "noisy", rate=1.0, format="wav", workers=1)
    assert {path.suffix for path in noisy.rglob("*.*") if path.parent != noisy} == {".wav"}
    assert restem.evaluate(root, estimates=root).summary()["all"]["songs"] == 2
    with pytest.raises(restem.UsageError, match="either `model`, a separator, or `estimates`"):
        restem.evaluate(root)


def test_representations_are_short(run: Run, tmp_path: Path) -> None:
    dataset = restem.open_dataset(run.dataset_root)
    table = restem.scan(dataset, workers=1)
    truth = tmp_path / "truth.csv"
    run.labels.select("song", "stem", "given", true="given").write_csv(truth)
    shown = {
        repr(one): one._repr_html_()  # type: ignore[attr-defined]
        for one in (
            dataset, run, dataset.taxonomy, restem.ScanSummary.of(dataset, table), restem.score(run, truth),
            restem.evaluate(dataset, estimates=dataset.root),
        )
    }  # fmt: skip
    assert "Dataset('songs', layout='songs', 2 songs, 8 stems)" in shown
    assert "Taxonomy('vocals,drums,bass,other')" in shown
    assert "ScanSummary('songs', layout='songs', 2 songs, 8 stems, 0.01 h)" in shown
    assert any(text.startswith("Evaluation(2 songs, SDR ") for text in shown)
    assert any(text.startswith("Run('run', 8 stems: ") for text in shown)
    assert any(text.startswith("LabelScore(8 stems, label accuracy 1.000 given, ") for text in shown)
    for text, html in shown.items():
        assert len(text) < 120 and "\n" not in text
        assert html.startswith("<table>") and html.endswith("</table>") and len(html) < 3000


def test_what_a_notebook_shows_is_escaped() -> None:
    root = Path("/<script>alert(1)\x1b")
    html = restem.Dataset(root, "songs", restem.Taxonomy(), ())._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "\x1b" not in html


def test_the_table_of_a_dataset(run: Run) -> None:
    dataset = restem.open_dataset(run.dataset_root).with_labels({"Song 1/bass.wav": frozenset({"drums", "bass"})})
    assert dataset.table.columns == ["song", "stem", "given"]
    assert dataset.table.row(0) == ("Song 1", "Song 1/bass.wav", "drums+bass")
    assert len(dataset.table) == len(dataset)
    assert restem.Dataset(Path("/x"), "songs", dataset.taxonomy, ()).table.is_empty()


def test_results_can_be_compared_without_raising(run: Run) -> None:
    one, other = (restem.evaluate(run.dataset_root, estimates=run.dataset_root) for _ in range(2))
    assert one == one and one != other


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
