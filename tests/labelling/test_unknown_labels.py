"""Stems of which nobody knows what they hold: scored, never learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import restem
from restem.dataset.layouts import open_dataset
from restem.labelling import rounds
from restem.separation.training_stems import training_stems_of_dataset


@pytest.mark.parametrize("method", ["restem", "paper"])
def test_an_unknown_stem_is_never_taught(tmp_path: Path, write_songs, monkeypatch, method: str) -> None:
    """Whatever was found in it, its segments are targets of nothing in any round."""
    dataset = open_dataset(write_songs(tmp_path / "set", songs=3, seconds=4.0))
    unknown = dataset.stems[5].name
    stems = [replace(one, given=frozenset(), unknown=True) if one.name == unknown else one for one in dataset.stems]
    dataset = replace(dataset, stems=tuple(stems))
    taught = []
    train = rounds.Refinement._training

    def watched(self: Any, folder: Path, targets: np.ndarray, fold: int | None) -> Any:
        taught.append(targets[self.features.segments.stem == 5].max())
        assert targets.max() > 0.5
        return train(self, folder, targets, fold)

    monkeypatch.setattr(rounds.Refinement, "_training", watched)
    monkeypatch.setattr(rounds, "segment_targets", lambda *found: np.ones_like(found[1]))
    monkeypatch.setattr("restem.labelling.paper.heard", lambda judged: np.ones_like(judged.outcome.refined))
    restem.refine(
        dataset, tmp_path / "run", method=method, rounds=2, folds=2, steps=2, workers=1, device="cpu", encoder="none",
        cache=tmp_path / "cache",
    )  # fmt: skip
    assert len(taught) >= 2 and not any(taught)


def test_an_unknown_stem_is_scored_and_carried_through(tmp_path: Path, write_songs) -> None:
    root = write_songs(tmp_path / "set", songs=3, seconds=4.0)
    dataset = open_dataset(root)
    rows = [
        f"{stem.name},{'?' if stem.name == 'Song 2/bass.flac' else dataset.given_text(stem)},room,{stem.split}"
        for stem in dataset.stems
    ]
    (root / "stems.csv").write_text("\n".join(["path,labels,instrument,split", *rows]) + "\n")
    dataset = open_dataset(root)
    assert len(training_stems_of_dataset(dataset)) == len(dataset) - 1

    run = restem.refine(dataset, tmp_path / "run", folds=2, steps=2, workers=1, device="cpu", cache=tmp_path / "cache")
    row = run.labels.row(by_predicate=pl.col("stem") == "Song 2/bass.flac", named=True)
    assert row["given"] == "?"
    assert row["verdict"] == ("changed" if row["refined"] else "unsure")
    assert row["quality"] is not None
    assert run.stated["Song 1/bass.flac"] == {"instrument": "room"}
    assert run.dataset.stems == dataset.stems
    exported = open_dataset(restem.export(run, tmp_path / "out").path)
    assert {stem.instrument for stem in exported.stems} == {"room"}
