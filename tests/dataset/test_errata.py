from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import restem
from restem.dataset.errata import label_errors, published_errata, write_corrected
from restem.dataset.layouts import open_dataset
from restem.errors import DatasetError, RunError
from restem.evaluation.errata import score_errata
from restem.runs.run import Run, labels_schema, write_run
from restem.runs.tables import segments_schema
from restem.taxonomy import DEFAULT_CLASSES, Taxonomy

CLASSES = ("vocals", "drums", "bass", "other")
WRONG = "train/Detsky Sad - Walkie Talkie/drums.wav"  # holds other instruments as well, it was reported


@pytest.fixture
def musdb(tmp_path: Path, tree) -> Path:
    songs = ("Detsky Sad - Walkie Talkie", "Leaf - Wicked", "A Song Without Errors")
    return tree(tmp_path / "musdb", [f"train/{song}/{name}.wav" for song in songs for name in CLASSES])


def make_run(path: Path, root: Path, qualities: dict[str, float]) -> Run:
    """A run of the dataset at `root`; stems that are not named have a quality of 0.9."""
    dataset, schema = open_dataset(root), labels_schema(Taxonomy())
    rows = [
        {
            **dict.fromkeys(schema, 0.5), "song": stem.song, "stem": stem.name, "given": dataset.given_text(stem),
            "refined": "drums+other" if stem.name in qualities else dataset.given_text(stem), "verdict": "kept",
            "quality": qualities.get(stem.name, 0.9),
        }
        for stem in dataset.stems
    ]  # fmt: skip
    described = {"root": str(root), "layout": "songs", "classes": list(CLASSES), "aliases": {}}
    segments = pl.DataFrame(schema=segments_schema(Taxonomy()))
    return write_run(path, Taxonomy(), pl.DataFrame(rows, schema=schema), segments, {"dataset": described})


def test_the_facts_are_well_formed() -> None:
    for erratum in published_errata():
        assert erratum.kind in ("label", "bleed", "quality", "content")
        assert erratum.labels <= set(DEFAULT_CLASSES)
        assert not erratum.labels or erratum.kind == "label"
        assert "http" in erratum.source
    assert len(published_errata()) > 100


def test_errata_of_the_stems_at_hand(musdb: Path) -> None:
    table = restem.errata(musdb)
    found = {(row["stem"], row["kind"], row["labels"], row["certain"]) for row in table.iter_rows(named=True)}
    assert found == {
        (WRONG, "label", "drums+other", True),
        ("train/Leaf - Wicked/drums.wav", "label", "drums+other", True),
        ("train/Leaf - Wicked/vocals.wav", "label", "vocals+other", False),
    }


def test_certain_ones_are_applied(musdb: Path, tmp_path: Path) -> None:
    assert write_corrected(open_dataset(musdb), tmp_path / "corrected.csv") == 2
    corrected = open_dataset(musdb, metadata=tmp_path / "corrected.csv")
    assert {stem.name for stem in corrected.stems if len(stem.given) == 2} == set(label_errors(open_dataset(musdb)))
    assert [stem for stem in corrected.stems if len(stem.given) == 1] == [
        stem for stem in open_dataset(musdb).stems if stem.name not in label_errors(open_dataset(musdb))
    ]
    with pytest.raises(DatasetError, match="lies in the dataset"):
        write_corrected(open_dataset(musdb), musdb / "corrected.csv")
    with pytest.raises(DatasetError, match="only; leave out `taxonomy`"):
        label_errors(open_dataset(musdb, taxonomy=Taxonomy(("drums", "other"))))


def test_numbers_of_songs_belong_to_their_dataset(tmp_path: Path, tree) -> None:
    assert len(restem.errata(tree(tmp_path, ["Track00357/stems/S03 Bass.wav", "Track00357/drums.wav"]))) == 0


def test_where_a_run_puts_them(musdb: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", musdb, {WRONG: 0.1, "train/Leaf - Wicked/drums.wav": 0.95})
    score = score_errata(run)
    assert score.found.select("stem", "place").rows() == [(WRONG, 1), ("train/Leaf - Wicked/drums.wav", 12)]
    assert (score.stems, score.corrected) == (12, 2)
    # One of the two is below all ten others, one above.
    assert score.auroc == 0.5
    none = make_run(tmp_path / "none", musdb.rename(tmp_path / "renamed"), {})
    assert score_errata(none).corrected == 0


def test_a_dataset_without_known_errors(tmp_path: Path, tree) -> None:
    root = tree(tmp_path / "set", ["A/vocals.wav", "A/drums.wav"])
    with pytest.raises(RunError, match="no label of its dataset is known to be wrong"):
        score_errata(make_run(tmp_path / "run", root, {}))
