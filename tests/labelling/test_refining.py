"""The whole refinement on a few songs of four plain sounds; small trainings, seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from restem.audio.store import Store
from restem.dataset.layouts import open_dataset
from restem.errors import DatasetError, RunError, UsageError
from restem.executing.processes import IN_THIS_PROCESS, Processes
from restem.labelling import rounds
from restem.labelling.classifier import load_classifier
from restem.labelling.computing import Computing
from restem.labelling.deciding import Outcome
from restem.labelling.features import load_features
from restem.labelling.judging import judge, segment_targets, stem_scores
from restem.labelling.known_labels import known_labels
from restem.labelling.refining import refine_labels
from restem.labelling.rounds import Refinement, Timed, assign_folds
from restem.labelling.scoring import ScoringTask
from restem.labelling.segments import Segments
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
from restem.runs.run import Run, open_run

CLASSES = ["vocals", "drums", "bass", "other"]
QUICK = RefineSettings(folds=2, steps=12, training=TrainingSettings(batch=8, epoch_steps=6, validation_mixtures=8))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> Run:
    """A run on three songs, in one of which vocals and drums are confused."""
    root = tmp_path_factory.mktemp("refining")
    band_writer(root / "songs", songs=3, wrong={(1, "vocals"): "drums", (1, "drums"): "vocals"})
    return refine_labels(
        open_dataset(root / "songs"), root / "run", QUICK, cache=root / "cache", workers=1, licence="CC BY 4.0"
    )


class TestRunFolder:
    def test_files(self, finished: Run) -> None:
        names = {str(path.relative_to(finished.path)) for path in finished.path.rglob("*") if path.is_file()}
        names = {name for name in names if not name.startswith("classifier/log/")}
        assert names == {
            "labels.csv", "segments.parquet", "run.json", "classifier/model.safetensors", "classifier/config.json"
        }  # fmt: skip

    def test_labels(self, finished: Run) -> None:
        header = (finished.path / "labels.csv").read_text().splitlines()[0]
        assert header == "song,stem,given,refined,verdict,quality,vocals,drums,bass,other,seconds,active_seconds"
        labels = pl.read_csv(finished.path / "labels.csv")
        assert labels["stem"].to_list() == [
            f"Song {n}/{name}.wav" for n in (1, 2, 3) for name in ("bass", "drums", "other", "vocals")
        ]
        assert labels["song"].to_list() == [stem.partition("/")[0] for stem in labels["stem"]]
        assert labels["given"].to_list() == 3 * ["bass", "drums", "other", "vocals"]
        assert labels["seconds"].to_list() == [5.0] * 12
        for name in ("quality", *CLASSES):
            assert labels[name].dtype == pl.Float64 and labels[name].is_between(0, 1).all()
        assert (labels["active_seconds"] <= 5.0).all() and (labels["active_seconds"] > 0).all()
        assert set(labels["verdict"]) <= {"kept", "changed", "unsure"}
        for row in labels.iter_rows(named=True):
            assert (row["verdict"] == "changed") == (row["given"] != row["refined"])
            assert row["refined"] == "+".join(name for name in CLASSES if name in row["refined"])

    def test_segments(self, finished: Run) -> None:
        segments = pl.read_parquet(finished.path / "segments.parquet")
        assert segments.columns == ["song", "stem", "start_s", "end_s", "level_db", *CLASSES]
        assert segments["start_s"].dtype == pl.Float64 and segments["level_db"].dtype == pl.Float32
        for _, mine in segments.group_by("stem", maintain_order=True):
            np.testing.assert_allclose(mine["start_s"], [0.0, 1.0, 2.0], atol=1e-9)
            np.testing.assert_allclose(mine["end_s"], [3.0, 4.0, 5.0], atol=1e-9)
        assert segments["stem"].unique(maintain_order=True).to_list() == finished.labels["stem"].to_list()
        for name in CLASSES:
            assert segments[name].is_between(0, 1).all()
        assert segments["level_db"].is_between(-60, 0).all()

    def test_quality_never_exceeds_the_probability_of_any_of_its_classes(self, finished: Run) -> None:
        labels = finished.labels
        given = np.array([[name in text.split("+") for name in CLASSES] for text in labels["given"]])
        scores = labels.select(CLASSES).to_numpy()
        bound = np.where(given, scores, 1 - scores).min(axis=1)
        assert (labels["quality"].to_numpy() <= bound + 2e-6).all()  # six digits are written

    def test_says_whether_stems_were_scored_out_of_fold(self, finished: Run, tmp_path: Path) -> None:
        assert finished.out_of_fold and finished.description["out_of_fold"] is True
        again = refine_labels(
            open_dataset(finished.dataset_root), tmp_path / "run", replace(QUICK, folds=1, steps=2),
            cache=tmp_path / "cache", workers=1,
        )  # fmt: skip
        assert not again.out_of_fold

    def test_classifier(self, finished: Run) -> None:
        config = load_classifier(finished.path / "classifier").config
        assert list(config.classes) == CLASSES and config.licence == "CC BY 4.0"
        assert config.dataset == finished.description["dataset"]["fingerprint"]

    def test_description(self, finished: Run) -> None:
        description = json.loads((finished.path / "run.json").read_text())
        assert description["seed"] == 0 and description["licence"] == "CC BY 4.0" and description["failures"] == {}
        assert description["settings"]["steps"] == 12 and description["settings"]["folds"] == 2
        assert description["dataset"]["layout"] == "songs" and description["dataset"]["stems"] == 12
        assert {"restem", "python", "torch", "numpy"} <= set(description["versions"])
        assert set(description["stages"]) == {
            "features and damage", "copies", "pretrained: scoring", "pretrained: embedding",
            "round 1 of 1: training", "round 1 of 1: scoring", "final classifier"
        }  # fmt: skip
        assert all(seconds >= 0 for seconds in description["stages"].values())

    def test_reads_back(self, finished: Run) -> None:
        again = open_run(finished.path)
        assert again.labels.equals(finished.labels) and again.segments.equals(finished.segments)


class TestAgain:
    def test_a_finished_run_is_read_back_without_work(self, finished: Run) -> None:
        before = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*")}
        calls: list[tuple[str, int, int]] = []
        # Nothing is looked up in a cache that is not there.
        run = refine_labels(
            open_dataset(finished.dataset_root), finished.path, QUICK, cache="/nonexistent/cache", licence="CC BY 4.0",
            progress=lambda *call: calls.append(call),
        )  # fmt: skip
        assert run.labels.equals(finished.labels) and calls == []
        assert {path: path.stat().st_mtime_ns for path in finished.path.rglob("*")} == before

    @pytest.mark.parametrize("settings", [replace(QUICK, seed=1), replace(QUICK, rounds=1), RefineSettings()])
    def test_other_settings(self, finished: Run, settings: RefineSettings) -> None:
        with pytest.raises(RunError, match=r"differs in `.*; choose another `out`"):
            refine_labels(open_dataset(finished.dataset_root), finished.path, settings, licence="CC BY 4.0")

    def test_other_dataset(self, finished: Run, tmp_path: Path, write_band: Callable[..., Path]) -> None:
        other = open_dataset(write_band(tmp_path / "other", songs=1, seconds=1.0))
        with pytest.raises(RunError, match=r"differs in `dataset\.root`"):
            refine_labels(other, finished.path, QUICK, licence="CC BY 4.0")

    def test_a_folder_with_something_else(self, finished: Run, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(RunError, match="not empty"):
            refine_labels(open_dataset(finished.dataset_root), tmp_path, QUICK)
        with pytest.raises(RunError, match=r"thesis\.txt: is a file"):
            refine_labels(open_dataset(finished.dataset_root), tmp_path / "thesis.txt", QUICK)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_killed_while_the_request_was_written(self, finished: Run, tmp_path: Path) -> None:
        """Nothing but a half-written request is there: that is no other run."""
        (tmp_path / "run" / ".work").mkdir(parents=True)
        (tmp_path / "run" / ".work" / ".request.json.1a2b3c4d.part").write_text('{"sett')
        quick = replace(QUICK, rounds=1, folds=1, steps=1)
        run = refine_labels(open_dataset(finished.dataset_root), tmp_path / "run", quick, cache=tmp_path / "cache")
        assert len(run.labels) == 12


class TestDeterminism:
    def test_one_and_two_workers(self, finished: Run, tmp_path: Path) -> None:
        two = refine_labels(
            open_dataset(finished.dataset_root), tmp_path / "run", QUICK, cache=tmp_path / "cache", workers=2,
            licence="CC BY 4.0",
        )  # fmt: skip
        for name in ("labels.csv", "classifier/model.safetensors"):
            assert (two.path / name).read_bytes() == (finished.path / name).read_bytes()
        assert two.segments.equals(finished.segments)

    def test_another_seed(self, finished: Run, tmp_path: Path) -> None:
        settings = replace(QUICK, seed=3, rounds=1, steps=5)
        other = refine_labels(open_dataset(finished.dataset_root), tmp_path / "a", settings, cache=tmp_path / "cache")
        again = refine_labels(open_dataset(finished.dataset_root), tmp_path / "b", settings, cache=tmp_path / "cache")
        assert other.labels.equals(again.labels)
        assert not other.labels.select(CLASSES).equals(finished.labels.select(CLASSES))

    def test_the_source_is_not_touched(self, finished: Run, tmp_path: Path) -> None:
        def look() -> dict[str, tuple[str, int, int]]:
            return {
                str(path): (
                    hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "", path.stat().st_mtime_ns,
                    path.stat().st_mode,
                )
                for path in [finished.dataset_root, *finished.dataset_root.rglob("*")]
            }  # fmt: skip

        before = look()
        settings = replace(QUICK, rounds=1, folds=1, steps=2)
        refine_labels(open_dataset(finished.dataset_root), tmp_path / "run", settings, cache=tmp_path / "cache")
        assert look() == before


class TestSettings:
    @pytest.mark.parametrize("change", [{"size": "huge"}, {"rounds": 0}, {"folds": 0}, {"steps": 0}])
    def test_bad_ones(self, change: dict) -> None:
        with pytest.raises(UsageError):
            RefineSettings(**change)

    @pytest.mark.parametrize("seed", [-1, 5_000_000, 1 << 70])
    def test_any_seed_is_used_or_refused(self, finished: Run, tmp_path: Path, seed: int) -> None:
        """Not taken at first, to fail later with a fault."""
        try:
            settings = replace(QUICK, seed=seed, rounds=1, folds=1, steps=1)
        except UsageError:
            return
        refine_labels(
            open_dataset(finished.dataset_root), tmp_path / "run", settings, cache=tmp_path / "cache", workers=1
        )


class TestFolds:
    @pytest.mark.parametrize(("songs", "folds"), [(1, 3), (2, 3), (7, 3), (9, 1), (5, 5)])
    def test_songs_stay_together_and_folds_are_equal(self, songs: int, folds: int) -> None:
        names = [f"Song {n}" for n in range(songs) for _ in range(4)]
        fold = assign_folds(names, np.ones(len(names), bool), folds, seed=0)
        assert all(len({f for f, name in zip(fold, names, strict=True) if name == one}) == 1 for one in set(names))
        sizes = np.bincount(fold) // 4
        assert len(sizes) == min(folds, songs) and sizes.max() - sizes.min() <= 1

    def test_are_a_function_of_the_seed(self) -> None:
        names = [f"Song {n}" for n in range(20)]
        teaching = np.ones(len(names), bool)
        first = assign_folds(names, teaching, 4, 1)
        np.testing.assert_array_equal(first, assign_folds(names, teaching, 4, 1))
        assert (first != assign_folds(names, teaching, 4, 2)).any()

    def test_songs_that_teach_nothing_make_no_fold(self) -> None:
        teaching = np.array([True, False, True, False])
        np.testing.assert_array_equal(np.sort(assign_folds(["a", "b", "c", "d"], teaching, 4, 0)), [0, 0, 0, 1])


def test_from_the_data_alone_only_the_last_round_is_evidence(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels follow from the scores of the last round, and not from the mean of all."""
    settings = replace(QUICK, start="scratch", rounds=2)
    store = Store(tmp_path / "cache")
    features = load_features(open_dataset(finished.dataset_root), store, settings.mixing.segment_s, settings.hop_s)
    refinement = Refinement(
        features, tmp_path, settings, Computing("cpu", "32-true", 1), Processes(1), settings.classifier(tuple(CLASSES))
    )
    known = known_labels(features, None)
    given = features.given[features.segments.stem]
    says = {1: np.where(given, 9.0, -9.0), 2: np.roll(np.where(given, 3.0, -3.0), 1, axis=1)}
    monkeypatch.setattr(refinement, "round", lambda number, *_: says[number])
    found = refinement.judged_in_rounds(None, known, Timed(None))
    expected = judge(features, stem_scores(features, says[2], settings), says[2], settings, known)
    np.testing.assert_array_equal(found.outcome.probabilities, expected.outcome.probabilities)
    np.testing.assert_array_equal(found.over_time, expected.over_time)


def test_what_the_next_round_is_taught() -> None:
    """A stem of one class teaches it everywhere; one of two teaches in each segment what was found there."""
    segments = Segments(
        stem=np.array([0, 0, 1, 1, 1]), start=np.zeros(5, int), stop=np.ones(5, int), level_db=np.zeros(5),
        active=np.ones(5, bool), gains=np.ones(2), active_frames=np.ones(2, int),
    )  # fmt: skip
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.95, 0.05]])
    scores = np.array([[0.2, 0.9, 0.0], [0.7, 0.0, 0.0], [0.9, 0.1, 0.8], [0.9, 0.9, 0.0], [0.3, 0.4, 0.9]])
    decisions = Outcome(probabilities > 0.5, probabilities, np.ones(2), ("kept", "kept"), (), ())
    targets = segment_targets(segments, scores, decisions)
    np.testing.assert_allclose(targets[:2], probabilities[[0, 0]], rtol=1e-6)
    # Both; and where none is clear, the clearest that the stem holds.
    np.testing.assert_allclose(targets[3, :2], [0.8, 0.95], rtol=1e-6)
    np.testing.assert_allclose(targets[2, :2], [0.8, 0.0], rtol=1e-6)
    np.testing.assert_allclose(targets[4, :2], [0.0, 0.95], rtol=1e-6)


def test_nothing_learns_from_unfit_stems(tmp_path: Path, write_band: Callable[..., Path]) -> None:
    dataset = open_dataset(write_band(tmp_path / "songs", songs=3))
    features = load_features(dataset, Store(tmp_path / "cache"), QUICK.mixing.segment_s, QUICK.hop_s)
    config, computing = QUICK.classifier(dataset.taxonomy.classes), Computing("cpu", "32-true", 1)
    more = (features, tmp_path / "run", QUICK, computing, IN_THIS_PROCESS, config, None)
    unfit = [dataset.stems[2].name, "Song 9/not there.wav"]
    refinement = Refinement(*more, unfit)
    targets = features.given[features.segments.stem].astype(np.float32)
    task = refinement._training(tmp_path / "fold", targets, None)
    learned = task.pool.targets.any(axis=1)
    assert set(task.pool.stem[~learned].tolist()) == {2} and 2 not in task.pool.stem[learned]
    # Nor do the heads on what the pretrained classifier sees.
    taught = refinement.teaching(known_labels(features, None))
    assert np.flatnonzero(~taught).tolist() == [2]
    with pytest.raises(DatasetError, match="leaves no stem"):
        Refinement(*more, [stem.name for stem in dataset.stems])


def test_scores_do_not_depend_on_how_the_work_is_divided(
    tmp_path: Path, write_band: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a task has the features of its own stems only."""
    dataset = open_dataset(write_band(tmp_path / "songs", songs=3))
    features = load_features(dataset, Store(tmp_path / "cache"), QUICK.mixing.segment_s, QUICK.hop_s)
    config = QUICK.classifier(dataset.taxonomy.classes)
    monkeypatch.setattr("restem.labelling.scoring.BATCH", 4)
    computing = Computing("cpu", "32-true", 1)
    found, tasks = [], []
    score = rounds.score_segments

    def watched(task: ScoringTask) -> np.ndarray:
        tasks.append((len(task.stems), len(np.unique(task.stem)), len(task.stem)))
        return score(task)

    monkeypatch.setattr(rounds, "score_segments", watched)
    for at_once in (1000, 8):
        monkeypatch.setattr(rounds, "_SEGMENTS_AT_ONCE", at_once)
        refinement = rounds.Refinement(features, tmp_path / "run", QUICK, computing, IN_THIS_PROCESS, config)
        found.append(refinement.score_with_pretrained(rounds.Timed(None)))
    np.testing.assert_array_equal(found[1], found[0])
    assert found[0][features.segments.active].any(axis=1).all()
    assert len(tasks) > 4 and all(stems == mine for stems, mine, _ in tasks)
    assert max(segments for _, _, segments in tasks[2:]) == 8
