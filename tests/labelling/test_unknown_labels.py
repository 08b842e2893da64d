"""Stems of which nobody knows what they hold: scored, never learned from."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import restem
from restem.dataset.layouts import open_dataset
from restem.separation.training_stems import training_stems_of_dataset


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
