"""Predictions of a small classifier for tones and noise, which it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.errors import AudioError, UsageError
from restem.labelling.classifier import Classifier, load_classifier
from restem.labelling.training import TrainingTask, train_classifier

RATE_HZ = 8000


def tone_then_rest_then_noise() -> np.ndarray:
    """(sample,) 4 s of a tone, 3 s of nothing, 4 s of noise."""
    time_s = np.arange(4 * RATE_HZ) / RATE_HZ
    noise = np.random.default_rng(3).standard_normal(4 * RATE_HZ)
    parts = (0.3 * np.sin(2 * np.pi * 700 * time_s), np.zeros(3 * RATE_HZ), 0.1 * noise)
    return np.concatenate(parts).astype(np.float32)


@pytest.fixture
def classifier(make_task: Callable[..., TrainingTask]) -> Classifier:
    task = make_task("trained", steps=40)
    train_classifier(task)
    return load_classifier(task.folder)


def test_over_time_and_in_the_whole(classifier: Classifier) -> None:
    found = classifier.predict(tone_then_rest_then_noise(), RATE_HZ)
    assert found.classes == ("tone", "noise") and found.segments.shape == (len(found.start_s), 2)
    tone, rest, noise = (
        found.segments[(found.start_s >= a) & (found.end_s <= b)] for a, b in ((0, 4), (4.5, 6.5), (7, 11))
    )
    assert (tone[:, 0] > tone[:, 1]).all() and (noise[:, 1] > noise[:, 0]).all() and (rest == 0).all()
    assert (found.whole > 0.5).all()
    assert found.end_s[-1] == pytest.approx(11.0)
    assert found.table.columns == ["start_s", "end_s", "tone", "noise"] and len(found.table) == len(found.start_s)


def test_a_file_is_the_same_as_its_samples(classifier: Classifier, tmp_path: Path) -> None:
    sound = np.stack([tone_then_rest_then_noise()] * 2)
    soundfile.write(tmp_path / "a.wav", sound.T, RATE_HZ, subtype="FLOAT")
    from_file, from_samples = classifier.predict(tmp_path / "a.wav"), classifier.predict(sound, RATE_HZ)
    np.testing.assert_allclose(from_file.segments, from_samples.segments, atol=1e-5)
    np.testing.assert_allclose(from_file.whole, from_samples.whole, atol=1e-5)


def test_silence_holds_nothing(classifier: Classifier) -> None:
    found = classifier.predict(np.zeros(2 * RATE_HZ), RATE_HZ)
    assert (found.whole == 0).all() and (found.segments == 0).all()


def test_one_line(classifier: Classifier) -> None:
    assert repr(classifier).startswith("Classifier(tone, noise; ") and "\n" not in repr(classifier)
    assert repr(classifier.predict(np.zeros(RATE_HZ), RATE_HZ)) == "Prediction(tone 0.00, noise 0.00; 1 segments)"


@pytest.mark.parametrize(("sound", "rate_hz"), [(np.zeros(10), None), (np.zeros(0), 8000), (np.full(9, np.nan), 8000)])
def test_what_is_no_sound_is_refused(classifier: Classifier, sound: np.ndarray, rate_hz: int | None) -> None:
    with pytest.raises(UsageError):
        classifier.predict(sound, rate_hz)


def test_a_missing_file(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        classifier.predict(tmp_path / "none.wav")
