"""Embeddings in the cache: computed once, by processes or here, and found again without the encoder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from restem.audio.entries import Source
from restem.errors import RestemError
from restem.executing.processes import Processes
from restem.labelling.encoders.adding import add_encoder
from restem.labelling.encoders.interface import EncoderCard
from restem.labelling.encoders.registry import load_encoder
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.encoders.stretches import EmbeddingSettings

RATE_HZ = 16000
NAME = "musicnn-vgg"


@pytest.fixture
def encoders(known_wheel: Path, tmp_path: Path) -> Path:
    """A folder with one encoder of random weights."""
    add_encoder(NAME, wheel=known_wheel, folder=tmp_path / "encoders")
    return tmp_path / "encoders"


@pytest.fixture
def card(encoders: Path) -> EncoderCard:
    return load_encoder(NAME, encoders).card


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Source]:
    def make(name: str, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Source:
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, rate_hz, subtype="FLOAT")
        return path, 0

    return make


def tone(seconds: float, rate_hz: int = RATE_HZ, pitch_hz: float = 440.0) -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def test_holds_what_the_encoder_gives(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    sound = tone(7.0)
    source = write("tone", sound)
    store = EmbeddingStore(tmp_path / "cache", card, EmbeddingSettings(precision="float32"), encoders=encoders)
    assert store.load(source) is None
    assert store.fill([source]) == {}
    found = store.require(source)
    assert found.start_s.tolist() == [0, 3, 4]
    assert found.seconds == 7
    np.testing.assert_allclose(found.level_db, -17, atol=0.1)
    windows = np.stack([sound[:48000], sound[48000:96000], sound[64000:]]).astype(np.float32)
    expected = load_encoder(NAME, encoders).embed(windows)
    np.testing.assert_allclose(np.asarray(found.embeddings)[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_enough_and_half_the_size(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    source = write("tone", tone(6.0))
    found = {}
    for precision in ("float16", "float32"):
        store = EmbeddingStore(tmp_path / "cache", card, EmbeddingSettings(precision=precision), encoders=encoders)
        store.compute(source)
        found[precision] = np.asarray(store.require(source).embeddings)
        assert found[precision].dtype == precision
    np.testing.assert_allclose(found["float16"], found["float32"], rtol=1e-3, atol=1e-5)


def test_silence_is_not_embedded(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    silent = write("silent", np.zeros(5 * RATE_HZ))
    rests = write("rests", np.concatenate((np.zeros(9 * RATE_HZ), tone(3.0), np.zeros(9 * RATE_HZ))))
    store = EmbeddingStore(tmp_path / "cache", card, encoders=encoders)
    assert store.fill([silent, rests]) == {}
    assert len(store.require(silent)) == 0
    assert store.require(silent).embeddings.shape == (0, 1, card.embedding_size)
    assert store.require(rests).start_s.tolist() == [9]


def test_other_rates_and_channels_are_the_same_sound(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    sources = [write("here", tone(6.0)), write("fast", tone(6.0, 44100), 44100)]
    # The mean of both channels is what the first two are.
    sources.append(write("wide", np.stack((2 * tone(6.0), 0 * tone(6.0)), axis=1)))
    store = EmbeddingStore(tmp_path / "cache", card, encoders=encoders)
    assert store.fill(sources) == {}
    one, fast, wide = (np.asarray(store.require(source).embeddings, np.float32) for source in sources)
    np.testing.assert_array_equal(one, wide)
    assert np.abs(one - fast).max() < 0.05 * np.abs(one).max()


def test_processes_give_the_same_bytes(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    sources = [write(f"tone {pitch}", tone(3.0, pitch_hz=pitch)) for pitch in (200, 300, 400)]
    threads = torch.get_num_threads()
    stores = [EmbeddingStore(tmp_path / name, card, encoders=encoders) for name in ("one", "two")]
    done: list[tuple[int, int]] = []
    assert stores[0].fill(sources) == {}
    assert stores[1].fill(sources, Processes(2), lambda *progress: done.append(progress)) == {}
    assert done[-1] == (3, 3)
    for source in sources:
        assert stores[0].entry(source).read_bytes() == stores[1].entry(source).read_bytes()
    assert torch.get_num_threads() == threads


def test_what_is_there_needs_no_encoder(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    source = write("tone", tone(3.0))
    store = EmbeddingStore(tmp_path / "cache", card, encoders=encoders)
    store.compute(source)
    shutil.rmtree(encoders)
    assert EmbeddingStore(tmp_path / "cache", card, encoders=encoders).fill([source]) == {}
    assert len(store.require(source)) == 1


def test_the_key_is_made_of_weights_and_grid(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    source = write("tone", tone(3.0))

    def entry(card: EncoderCard, **settings: float) -> Path:
        return EmbeddingStore(tmp_path, card, EmbeddingSettings(**settings), encoders=encoders).entry(source)

    entries = {
        entry(card), entry(replace(card, sha256="0" * 64)), entry(replace(card, embedding="x")), entry(card, hop_s=1.0),
        entry(card, at_most=5), entry(card, segment_s=2.0), entry(card, active_db=-20.0),
    }  # fmt: skip
    assert len(entries) == 7
    assert entry(card) == entry(replace(card, licence="another", good_for="something"))


def test_damaged_entries_are_made_again(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    source = write("tone", tone(3.0))
    store = EmbeddingStore(tmp_path / "cache", card, encoders=encoders)
    store.compute(source)
    whole = store.entry(source).read_bytes()
    for length in (0, 100, 4096, 4100, len(whole) - 1):
        store.entry(source).write_bytes(whole[:length])
        assert store.load(source) is None, length
    assert store.fill([source]) == {}
    assert store.entry(source).read_bytes() == whole


def test_stems_that_cannot_be_decoded(encoders: Path, card: EncoderCard, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    store = EmbeddingStore(tmp_path / "cache", card, encoders=encoders)
    assert list(store.fill([(tmp_path / "broken.wav", 0)])) == [0]


def test_an_encoder_that_was_replaced(
    encoders: Path, card: EncoderCard, write: Callable[..., Source], tmp_path: Path
) -> None:
    store = EmbeddingStore(tmp_path / "cache", replace(card, sha256="0" * 64), encoders=encoders)
    with pytest.raises(RestemError, match="was replaced"):
        store.compute(write("tone", tone(3.0)))
