"""Making the pretrained classifier, on three songs and a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from restem import pretraining
from restem.dataset.layouts import open_dataset
from restem.labelling.classifier import load_classifier
from restem.taxonomy import Taxonomy


def test_makes_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "SONG_SECONDS", 4.0)
    folder = pretraining.train_pretrained(tmp_path, songs=3, steps=2, workers=1)
    config = load_classifier(folder).config
    assert config.classes == pretraining.CLASSES

    dataset = open_dataset(tmp_path, taxonomy=Taxonomy(pretraining.CLASSES))
    assert len(dataset.songs) == 3
    for song in dataset.songs:
        labels = {frozenset(stem.given) for stem in dataset.stems if stem.song == song}
        assert {frozenset({name}) for name in ("vocals", "drums", "bass")} <= labels
        rest = {one for one in labels if "other" in one}
        # One stem a family, and their sum.
        assert rest and max(map(len, rest)) - 1 == len(frozenset().union(*rest)) - 1
        assert len(rest) == 1 or len(rest) == len(frozenset().union(*rest) - {"other"}) + 1

    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "songs").rglob("*")}
    pretraining.render_stems(tmp_path, 3, 1)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "songs").rglob("*")} == again
