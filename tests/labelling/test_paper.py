"""`--method paper` on a few songs of four plain sounds; what it finds is compared with its definition in numpy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.special import logit

from restem.api import report
from restem.audio.store import Store
from restem.cli.terminal import print_summary
from restem.dataset.layouts import open_dataset
from restem.errors import UsageError
from restem.labelling import refining
from restem.labelling.classifier import load_classifier
from restem.labelling.features import Features, load_features
from restem.labelling.known_labels import known_labels
from restem.labelling.paper import judge_by_threshold, judged_as_in_the_paper
from restem.labelling.refining import refine_labels
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
from restem.runs.decided import Decided
from restem.runs.run import Run

CLASSES = ["vocals", "drums", "bass", "other"]
QUICK = RefineSettings(
    method="paper", steps=40, training=TrainingSettings(batch=8, epoch_steps=20, validation_mixtures=8)
)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> Path:
    """Three songs; in one of them vocals and drums are confused."""
    root = tmp_path_factory.mktemp("paper") / "songs"
    return band_writer(root, songs=3, wrong={(1, "vocals"): "drums", (1, "drums"): "vocals"})


@pytest.fixture(scope="module")
def finished(songs: Path) -> Run:
    return refine_labels(open_dataset(songs), songs.parent / "run", QUICK, cache=songs.parent / "cache", workers=1)


class TestRun:
    def test_labels_are_what_a_quantile_of_the_segments_exceeds_the_threshold_for(self, finished: Run) -> None:
        for row in finished.labels.iter_rows(named=True):
            mine = finished.segments.filter(finished.segments["stem"] == row["stem"])
            scores = np.quantile(mine.select(CLASSES).to_numpy(), 0.85, axis=0)
            np.testing.assert_allclose([row[name] for name in CLASSES], scores, atol=1e-6)
            found = "+".join(name for name, score in zip(CLASSES, scores, strict=True) if score > 0.7)
            assert row["refined"] == (found or row["given"])
            assert row["verdict"] == ("unsure" if not found else "kept" if found == row["given"] else "changed")
            right = [score if name in row["given"] else 1 - score for name, score in zip(CLASSES, scores, strict=True)]
            assert row["quality"] == pytest.approx(min(right), abs=1e-6)

    def test_segments_are_scored_by_the_final_classifier(self, finished: Run) -> None:
        classifier = load_classifier(finished.path / "classifier")
        assert classifier.config.classes == tuple(CLASSES)
        stem = finished.labels["stem"][0]
        mine = finished.segments.filter(finished.segments["stem"] == stem).select(CLASSES).to_numpy()
        heard = classifier.predict(finished.dataset_root / stem).segments
        np.testing.assert_allclose(mine, heard, atol=1e-4)

    def test_the_run_says_what_was_done(self, finished: Run) -> None:
        content = json.loads((finished.path / "run.json").read_text(encoding="utf-8"))
        settings = content["settings"]
        chosen = {name: settings[name] for name in ("method", "start", "rounds", "folds", "encoder")}
        assert chosen == {"method": "paper", "start": "scratch", "rounds": 2, "folds": 1, "encoder": "none"}
        assert content["out_of_fold"] is False
        assert content["calibration"] == {} and content["sure_right"] is None
        assert not any("pretrained" in stage or "final" in stage for stage in content["stages"])
        assert not (finished.path / ".work").exists()

    def test_is_printed_and_reported_like_any_other(self, finished: Run, tmp_path: Path) -> None:
        console = Console(file=io.StringIO(), width=120)
        print_summary(finished, console)
        printed = console.file.getvalue()  # type: ignore[attr-defined]
        assert "--method paper" in printed and "--folds" not in printed
        assert "</html>" in report(finished, tmp_path / "report.html").read_text(encoding="utf-8")

    def test_an_interrupted_run_goes_on_to_the_same_labels(
        self, finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> Run:
            raise KeyboardInterrupt

        dataset, cache, few = open_dataset(finished.dataset_root), tmp_path / "cache", replace(QUICK, steps=3)
        whole = refine_labels(dataset, tmp_path / "whole", few, cache=cache, workers=1)
        with monkeypatch.context() as patch:
            patch.setattr(refining, "write_run", interrupted)
            with pytest.raises(KeyboardInterrupt):
                refine_labels(dataset, tmp_path / "run", few, cache=cache, workers=1)
        again = refine_labels(dataset, tmp_path / "run", few, cache=cache, workers=1)
        assert again.labels.equals(whole.labels)


class TestRounds:
    """With scores that are known beforehand."""

    @pytest.fixture
    def features(self, songs: Path, tmp_path: Path) -> Features:
        store = Store(tmp_path / "cache", QUICK.mel)
        return load_features(open_dataset(songs), store, QUICK.mixing.segment_s, QUICK.hop_s)

    @staticmethod
    def taught(features: Features, scores: np.ndarray, decided: dict[str, Decided] | None = None) -> list[np.ndarray]:
        """The targets (stem, class) of every round, if all segments of a stem score `scores` (stem, class)."""
        segments, targets = features.segments, []

        def train_and_score(number: int, mine: np.ndarray) -> np.ndarray:
            assert number == len(targets) + 1
            firsts = np.searchsorted(segments.stem, np.arange(len(scores)))
            targets.append(mine[firsts])
            assert np.array_equal(mine, mine[firsts][segments.stem])  # labels of stems, not of segments
            return np.asarray(logit(scores)[segments.stem])

        judged_as_in_the_paper(features, known_labels(features, decided), 3, train_and_score)
        return targets

    def test_given_labels_first_then_those_found(self, features: Features) -> None:
        scores = np.full((12, 4), 0.1)
        scores[0] = 0.8  # all of them
        scores[1, 2] = 0.69  # nothing
        first, *later = self.taught(features, scores)
        assert np.array_equal(first, features.given)
        for targets in later:
            assert np.array_equal(targets, scores > 0.7)

    def test_where_nothing_is_found_the_given_labels_are_taught_again(self, features: Features) -> None:
        for targets in self.taught(features, np.full((12, 4), 0.6)):
            assert np.array_equal(targets, features.given)

    def test_what_a_person_decided_is_taught(self, features: Features) -> None:
        name = features.dataset.stems[4].name
        decided = {name: Decided(labels=frozenset({"vocals", "other"}))}
        for targets in self.taught(features, np.full((12, 4), 0.1), decided):
            assert targets[4].tolist() == [1, 0, 0, 1]

    def test_a_silent_stem_is_silent(self, features: Features) -> None:
        quiet = features.segments.stem == 3
        segments = replace(
            features.segments, active=features.segments.active & ~quiet,
            active_frames=np.where(np.arange(12) == 3, 0, features.segments.active_frames),
        )  # fmt: skip
        logits = np.full((len(quiet), 4), 3.0)
        judged = judge_by_threshold(replace(features, segments=segments), logits, known_labels(features, None))
        assert judged.outcome.verdicts[3] == "silent" and not judged.outcome.refined[3].any()
        assert not judged.over_time[quiet].any()
        assert judged.outcome.verdicts.count("silent") == 1


class TestSettings:
    def test_what_was_chosen_stands(self) -> None:
        settings = RefineSettings(method="paper", start="pretrained", rounds=3)
        assert (settings.start, settings.rounds) == ("pretrained", 3)

    def test_an_encoder_has_no_place(self) -> None:
        with pytest.raises(UsageError, match="uses no encoder"):
            RefineSettings(method="paper", encoder="musicnn")

    def test_another_method(self) -> None:
        with pytest.raises(UsageError, match="no method 'papers'"):
            RefineSettings(method="papers")  # type: ignore[arg-type]
