"""The accuracy on mixtures of classifiers that always give the same answer, so that it is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
import torch

from restem.audio.store import Store
from restem.dataset.layouts import open_dataset
from restem.demo.reference import mixture_accuracy, with_true_labels
from restem.labelling.classifier import save_classifier
from restem.labelling.settings import RefineSettings
from restem.taxonomy import DEFAULT_CLASSES, Taxonomy

Measure = Callable[..., float]


def answering(folder: Path, answer: Collection[str], classes: tuple[str, ...]) -> Path:
    """The folder of a classifier that answers `answer` whatever it is given."""
    classifier = RefineSettings().classifier(classes).build()
    with torch.no_grad():
        classifier.head.weight.zero_()
        classifier.head.bias.copy_(torch.tensor([5.0 if name in answer else -5.0 for name in classes]))
    save_classifier(folder, classifier)
    return folder


@pytest.fixture
def measure(tmp_path: Path, write_songs: Callable[..., Path]) -> Measure:
    """The accuracy of a classifier that answers `answer`, on mixtures of two songs with the stems `stems`."""

    def of(
        answer: Collection[str],
        *,
        stems: Collection[str],
        classes: tuple[str, ...] = DEFAULT_CLASSES,
        mixtures: int = 8,
    ) -> float:
        songs = open_dataset(write_songs(tmp_path / "songs", songs=2, classes=stems), taxonomy=Taxonomy(classes))
        folder = answering(tmp_path / "classifier", answer, classes)
        settings = RefineSettings()
        return mixture_accuracy(folder, songs, settings, Store(tmp_path / "cache", settings.mel), mixtures=mixtures)

    return of


@pytest.mark.parametrize(
    ("answer", "accuracy"),
    [
        ({"drums"}, 1.0),
        (set(), 0.75),  # drums are missed
        ({"drums", "bass"}, 0.75),  # bass is there too much
        ({"vocals"}, 0.5),  # drums are missed, vocals are there too much
        ({"vocals", "bass", "other"}, 0.0),
    ],
)
def test_mixtures_of_drums_alone(measure: Measure, answer: set[str], accuracy: float) -> None:
    assert measure(answer, stems=["drums"]) == accuracy


def test_a_single_mixture_of_two_classes(measure: Measure) -> None:
    # `vocals` is right about a mixture of vocals, half right about drums, three quarters right about both.
    assert measure({"vocals"}, stems=["vocals", "drums"], mixtures=1) in (1.0, 0.5, 0.75)


def test_as_many_mixtures_as_asked_for(measure: Measure) -> None:
    # 5 mixtures and 4 classes are 20 decisions, so the share of right ones is a multiple of 1/20.
    accuracy = measure({"vocals"}, stems=["vocals", "drums"], mixtures=5)
    assert 20 * accuracy == pytest.approx(round(20 * accuracy), abs=1e-9)
    assert 0.5 <= accuracy <= 1.0


def test_mixtures_of_three_classes(measure: Measure) -> None:
    # One, two or three of three classes, with probabilities 4/9, 3/9 and 2/9: each is present with probability
    # (4 * 1 + 3 * 2 + 2 * 3) / 9 / 3 = 16/27. That vocals are there is right with 16/27, that drums and bass are not
    # with 11/27 each.
    expected = (16 / 27 + 2 * 11 / 27) / 3
    names = ("vocals", "drums", "bass")
    # What is right of one mixture lies between 0 and 1, so the standard error of 400 is 0.025 at most.
    assert measure({"vocals"}, stems=names, classes=names, mixtures=400) == pytest.approx(expected, abs=0.05)


def test_a_classifier_with_more_classes_in_another_order(tmp_path: Path, write_songs: Callable[..., Path]) -> None:
    songs = open_dataset(write_songs(tmp_path / "songs", songs=2, classes=["drums"]))
    folder = answering(tmp_path / "classifier", {"drums", "piano"}, ("piano", "other", "drums", "bass", "vocals"))
    settings = RefineSettings()
    assert mixture_accuracy(folder, songs, settings, Store(tmp_path / "cache", settings.mel), mixtures=8) == 1.0


def test_stems_under_their_true_labels(tmp_path: Path, write_songs: Callable[..., Path]) -> None:
    noisy = open_dataset(write_songs(tmp_path / "songs", songs=2))
    rows = [f"{stem.song},{stem.name},{noisy.taxonomy.format(stem.given)},bass+drums" for stem in noisy.stems[:2]]
    (tmp_path / "truth.csv").write_text("\n".join(["song,stem,given,true", *rows, ""]))
    true = with_true_labels(noisy, tmp_path / "truth.csv")
    assert [stem.given for stem in true.stems[:2]] == [{"drums", "bass"}] * 2
    assert [stem.given for stem in true.stems[2:]] == [stem.given for stem in noisy.stems[2:]]
