"""Making the pretrained classifier, on three songs and a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from restem.dataset.layouts import open_dataset
from restem.executing.processes import IN_THIS_PROCESS
from restem.labelling.classifier import load_classifier
from restem.pretraining import songs
from restem.pretraining.classifier import train_pretrained
from restem.taxonomy import Taxonomy


def test_makes_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(songs, "SONG_SECONDS", 4.0)
    folder = train_pretrained(tmp_path, 3, 2, IN_THIS_PROCESS)
    config = load_classifier(folder).config
    assert config.classes == songs.CLASSES

    dataset = open_dataset(tmp_path, taxonomy=Taxonomy(songs.CLASSES))
    assert len(dataset.songs) == 3
    for song in dataset.songs:
        labels = {frozenset(stem.given) for stem in dataset.stems if stem.song == song}
        assert {frozenset({name}) for name in ("vocals", "drums", "bass")} <= labels
        rest = {one for one in labels if "other" in one}
        # One stem a family, and their sum.
        assert rest and max(map(len, rest)) - 1 == len(frozenset().union(*rest)) - 1
        assert len(rest) == 1 or len(rest) == len(frozenset().union(*rest) - {"other"}) + 1

    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "songs").rglob("*")}
    songs.render_stems(tmp_path, 3, IN_THIS_PROCESS)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "songs").rglob("*")} == again
