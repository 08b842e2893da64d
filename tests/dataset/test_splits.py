from __future__ import annotations

from pathlib import Path

import pytest

from restem.dataset.layouts import open_dataset, opened_dataset
from restem.dataset.splits import choose_splits, take_split
from restem.errors import UsageError


@pytest.fixture
def musdb(tmp_path: Path, tree) -> Path:
    return tree(tmp_path, [f"{split}/{split} song/vocals.wav" for split in ("train", "VALIDATION", "test", "omitted")])


def test_test_songs_are_not_learned_from_unless_asked_for(musdb: Path) -> None:
    dataset = open_dataset(musdb)
    assert set(dataset.splits.values()) == {"train", "valid", "test", "omitted"}
    learned = choose_splits(dataset, None, "learn")
    assert set(learned.splits.values()) == {"train", "valid"}
    assert ("test/test song/vocals.wav", "of the split test") in {(item.path, item.reason) for item in learned.skipped}
    assert set(choose_splits(dataset, ["Test", "train"], "learn").splits.values()) == {"test", "train"}
    assert choose_splits(dataset, ["all"], "learn") == dataset
    assert opened_dataset(musdb, "learn") == learned
    # A dataset that was opened before is used as it is.
    assert opened_dataset(dataset, "learn") == dataset


def test_evaluations_take_the_test_songs_where_there_are_any(musdb: Path, tree) -> None:
    assert set(opened_dataset(musdb, "evaluate").splits.values()) == {"test"}
    flat = tree(musdb.parent / "flat", ["A/vocals.wav"])
    assert opened_dataset(flat, "evaluate").songs == ("A",)


def test_splits_that_are_not_there(tmp_path: Path, tree) -> None:
    dataset = open_dataset(tree(tmp_path, ["test/A/vocals.wav", "B/vocals.wav"]))
    with pytest.raises(UsageError, match="no song is of the split valid; the splits that songs have: none, test"):
        choose_splits(dataset, ["valid"], "learn")
    assert choose_splits(dataset, ["none"], "learn").songs == ("B",)
    only = open_dataset(tree(tmp_path / "only", ["test/A/vocals.wav", "test/B/vocals.wav"]))
    with pytest.raises(UsageError, match="all songs are of the split test; choose it with `splits`"):
        choose_splits(only, None, "learn")


def test_folders_of_splits() -> None:
    assert take_split(("a", "Training", "b")) == ("train", ("a", "b"))
    assert take_split(("training day", "b")) == ("", ("training day", "b"))


def test_a_development_set_is_learned_from_where_there_is_no_other(tmp_path: Path, tree) -> None:
    root = tree(tmp_path / "DSD100/Sources", ["Dev/A/vocals.wav", "Test/B/vocals.wav"])
    assert open_dataset(root).splits == {"A": "train", "B": "test"}
    assert open_dataset(tree(root, ["train/C/vocals.wav"])).splits == {"A": "valid", "B": "test", "C": "train"}


def test_a_table_has_splits(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["a.wav", "b.wav"])
    (tmp_path / "stems.csv").write_text(
        "path,labels,split,licence,bleed,instrument\na.wav,?,Validation,CC0,yes,room\nb.wav,bass,,,,\n"
    )
    dataset = open_dataset(tmp_path)
    first = dataset.stems[0]
    assert (first.split, first.licence, first.bleed, first.instrument) == ("valid", "CC0", "yes", "room")
    assert (first.unknown, first.given, dataset.table["given"].to_list()) == (True, frozenset(), ["?", "bass"])
    assert not dataset.with_labels({"a.wav": frozenset({"bass"})}).stems[0].unknown
