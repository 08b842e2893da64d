"""What holds for real recordings: those beside the project, in ../shared/data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restem.audio.mel import MelSettings, mel_power
from restem.audio.reader import EXTENSIONS, open_audio
from restem.dataset.layouts import open_dataset
from restem.dataset.truth import read_truth
from restem.taxonomy import Taxonomy

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [pytest.mark.real, pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")]


def mel(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    return np.concatenate(list(mel_power([samples], rate_hz, MelSettings())), dtype=np.float64)


def mel_adds_error_db(folder: Path) -> np.ndarray:
    """10 log10 of the mixture's mel power over the sum of its stems', where that is within 60 dB of its peak."""
    stems, rates = [], set()
    for path in sorted(folder.glob("*.ogg")):
        with open_audio(path) as audio:
            stems.append(audio.read())
            rates.add(audio.info.rate_hz)
    (rate_hz,) = rates
    length = min(samples.shape[1] for samples in stems)
    stems = [samples[:, :length] for samples in stems]
    total = np.sum([mel(samples, rate_hz) for samples in stems], axis=0)
    mixture = mel(np.sum(stems, axis=0), rate_hz)
    heard = total > 1e-6 * total.max()
    return 10 * np.log10(np.maximum(mixture[heard], 1e-20) / total[heard])


def test_mel_power_adds() -> None:
    """The identity that training mixtures rest on, one band and frame at a time: 28 mixtures of four real stems."""
    folders = sorted(path for path in (DATA / "takes" / "clean").iterdir() if path.is_dir())
    error_db = np.concatenate([mel_adds_error_db(folder) for folder in folders])
    absolute = np.abs(error_db)
    bias_db = 10 * np.log10(np.mean(10 ** (error_db / 10)))
    print(
        f"{len(error_db)} cells: median {np.median(absolute):.3f} dB, 95 % {np.quantile(absolute, 0.95):.3f} dB, "
        f"bias {bias_db:+.4f} dB"
    )
    assert len(error_db) > 500_000
    assert np.median(absolute) < 0.3
    assert np.quantile(absolute, 0.95) < 2.5
    assert abs(bias_db) < 0.02


@pytest.mark.parametrize("part", ["takes/clean", "takes/noisy", "band"])
def test_every_file_is_readable(part: str) -> None:
    files = [path for path in sorted((DATA / part).rglob("*")) if path.suffix in EXTENSIONS]
    assert len(files) >= 100
    for path in files:
        with open_audio(path) as audio:
            frames = sum(block.shape[1] for block in audio.blocks())
            assert frames == audio.info.frames > audio.info.rate_hz


@pytest.mark.parametrize(("part", "songs"), [("takes/clean", 28), ("takes/noisy", 28), ("band", 40)])
def test_opens_as_songs(part: str, songs: int) -> None:
    dataset = open_dataset(DATA / part)
    assert dataset.layout == "songs" and len(dataset.songs) == songs and dataset.skipped == ()


def test_truth_belongs_to_the_noisy_takes() -> None:
    truth = read_truth(DATA / "takes" / "truth.csv", Taxonomy())
    stems = {stem.path for stem in open_dataset(DATA / "takes" / "noisy").stems}
    assert {f"{song}/{stem}" for song, stem in truth.select("song", "stem").iter_rows()} == stems
