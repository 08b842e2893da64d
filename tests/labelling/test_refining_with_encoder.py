"""Refinements with an encoder, for which the levels of eight bands in a second of sound stand in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restem.dataset.layouts import open_dataset
from restem.errors import RunError, UsageError
from restem.executing.processes import IN_THIS_PROCESS
from restem.labelling.encoders import registry, store
from restem.labelling.encoders.interface import Encoder, EncoderCard
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.heads import Heads, fit_heads, head_inputs, save_heads
from restem.labelling.pretrained_heads import HEADS_FILE, EncoderWithHeads, find_heads
from restem.labelling.refining import refine_labels
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
from restem.pretraining import heads as making
from restem.pretraining import songs
from restem.runs.run import Run
from restem.taxonomy import DEFAULT_CLASSES, Taxonomy

RATE_HZ = 8000
CARD = EncoderCard("bands", "onnx", RATE_HZ, RATE_HZ, 8, "CC0", sha256="1" * 64)
QUICK = RefineSettings(folds=2, steps=2, training=TrainingSettings(batch=8, epoch_steps=2, validation_mixtures=8))
WRONG = {(1, "vocals"): "drums", (1, "drums"): "vocals"}


class Bands(Encoder):
    card = CARD

    def _run(self, windows: np.ndarray, tags: bool) -> np.ndarray:  # noqa: ARG002
        power = np.abs(np.fft.rfft(windows)[:, 1:]) ** 2
        return np.log10(power.reshape(len(windows), 8, -1).mean(axis=2) + 1e-6).astype(np.float32)


@pytest.fixture(autouse=True)
def _loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_loaded", lambda *_: Bands())


@pytest.fixture
def heads(tmp_path: Path, write_band: Callable[..., Path]) -> Heads:
    """Heads that were fitted to other songs, with right labels."""
    dataset = open_dataset(write_band(tmp_path / "other songs", songs=12, seconds=3.0))
    embeddings = EmbeddingStore(tmp_path / "other embeddings", CARD)
    sources = [(dataset.file(stem), 0) for stem in dataset.stems]
    assert embeddings.fill(sources) == {}
    inputs = [head_inputs(embeddings.require(source).embeddings[:]) for source in sources]
    flags = [[float(name in stem.given) for name in DEFAULT_CLASSES] for stem in dataset.stems]
    targets = np.repeat(np.array(flags), [len(one) for one in inputs], axis=0)
    weak = fit_heads(DEFAULT_CLASSES, np.concatenate(inputs), targets, CARD.sha256)
    return replace(weak, penalty=1.0).relearnt(DEFAULT_CLASSES, np.concatenate(inputs), targets)


@pytest.fixture
def refine(tmp_path: Path, heads: Heads, write_band: Callable[..., Path]) -> Callable[..., Run]:
    songs = write_band(tmp_path / "songs", songs=6, wrong=WRONG)

    def call(out: str, encoder: EncoderWithHeads | None = None, classes: tuple[str, ...] = DEFAULT_CLASSES) -> Run:
        dataset = open_dataset(songs, layout="songs", taxonomy=Taxonomy(classes))
        return refine_labels(
            dataset, tmp_path / out, QUICK, cache=tmp_path / "cache", workers=1,
            encoder=encoder or EncoderWithHeads(CARD, heads, tmp_path),
        )  # fmt: skip

    return call


def test_what_the_encoder_hears_is_decided(refine: Callable[..., Run]) -> None:
    run = refine("run")
    labels = run.labels
    found = {row["stem"]: row["refined"] for row in labels.iter_rows(named=True) if row["verdict"] == "changed"}
    assert found == {"Song 2/vocals.wav": "drums", "Song 2/drums.wav": "vocals"}
    assert run.description["encoder"]["name"] == run.description["settings"]["encoder"] == "bands"
    assert "embeddings of bands" in run.description["stages"]


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_from_object_storage_each_stem_is_fetched_once(
    refine: Callable[..., Run], heads: Heads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    here, system, space = refine("run"), fsspec.filesystem("memory"), f"/{tmp_path.name}"
    for path in (tmp_path / "songs").rglob("*.wav"):
        system.pipe_file(f"{space}/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
    fetched: list[str] = []
    get_file = type(system).get_file

    def counting(self: Any, key: str, *given: Any, **more: Any) -> None:
        fetched.append(key)
        get_file(self, key, *given, **more)

    monkeypatch.setattr(type(system), "get_file", counting)
    dataset = open_dataset(f"memory:/{space}/songs", layout="songs", taxonomy=Taxonomy(DEFAULT_CLASSES))
    kept = f"memory:/{space}/cache" if cache == "memory" else tmp_path / "other cache"
    there = refine_labels(
        dataset, tmp_path / "there", QUICK, cache=kept, workers=1, encoder=EncoderWithHeads(CARD, heads, tmp_path)
    )
    assert len(fetched) == len(set(fetched)) == len(dataset)
    assert there.labels.equals(here.labels) and there.description["findings"] == here.description["findings"]


def test_classes_that_the_heads_do_not_know(refine: Callable[..., Run]) -> None:
    """Their heads learn from the dataset alone, beside the classifiers."""
    run = refine("run", classes=("vocals", "drums", "bass"))
    assert len(run.labels) == 18 and run.labels["quality"].is_between(0, 1).all()


def test_other_encoders_make_another_run(refine: Callable[..., Run], heads: Heads, tmp_path: Path) -> None:
    refine("run")
    for other in (
        EncoderWithHeads(replace(CARD, sha256="2" * 64), heads, tmp_path),
        EncoderWithHeads(CARD, replace(heads, bias=heads.bias + 1.0), tmp_path),
    ):
        with pytest.raises(RunError, match=r"differs in `encoder\."):
            refine("run", other)


def test_heads_are_found_for_the_weights_they_were_made_for(heads: Heads, tmp_path: Path) -> None:
    path = tmp_path / CARD.name / HEADS_FILE
    assert find_heads(CARD, tmp_path) is None
    save_heads(path, heads)
    found = find_heads(CARD, tmp_path)
    assert found is not None and found.classes == DEFAULT_CLASSES
    assert find_heads(replace(CARD, sha256="2" * 64), tmp_path) is None
    path.write_bytes(b"damaged")
    assert find_heads(CARD, tmp_path) is None


def test_the_heads_for_musicnn_come_with_restem(tmp_path: Path) -> None:
    found = find_heads(registry.KNOWN["musicnn"], tmp_path)
    assert found is not None and found.classes == songs.CLASSES
    assert found.weights.shape == (registry.KNOWN["musicnn"].embedding_size, len(songs.CLASSES))


def test_heads_are_made_once_for_an_encoder_that_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(songs, "SONG_SECONDS", 4.0)
    monkeypatch.setattr(making, "_SONGS", 3)
    calls: list[str] = []
    made = making.heads_for(CARD, tmp_path, IN_THIS_PROCESS, lambda what, *_: calls.append(what))
    assert made.classes == songs.CLASSES and set(calls) == {"songs for the heads of bands", "heads of bands"}
    found = making.heads_for(CARD, tmp_path, IN_THIS_PROCESS, lambda what, *_: pytest.fail(what))
    assert found.digest == made.digest


class TestChoice:
    def test_none(self) -> None:
        assert registry.chosen_encoder("none") is None

    def test_auto_where_nothing_is_installed(self) -> None:
        assert registry.chosen_encoder("auto") is None

    @pytest.mark.parametrize(
        ("name", "remedy"), [("musicnn", "restem encoders add musicnn"), ("unheard-of", "`restem encoders` lists")]
    )
    def test_one_that_is_not_installed(self, name: str, remedy: str) -> None:
        with pytest.raises(UsageError, match=remedy):
            registry.chosen_encoder(name)

    def test_auto_takes_the_first_whose_interpreter_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        there = {"a": replace(CARD, name="a", kind="tflite"), "b": CARD}
        monkeypatch.setattr(registry, "installed", lambda: there)
        monkeypatch.setattr(registry, "find_spec", lambda package: None if package == "ai_edge_litert" else object())
        assert registry.chosen_encoder("auto") is CARD
