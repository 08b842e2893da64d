from __future__ import annotations

from pathlib import Path

import pytest

from restem.dataset.draft import write_draft
from restem.dataset.layouts import open_dataset
from restem.errors import DatasetError
from restem.taxonomy import read_taxonomy


def test_a_draft_is_read_back_once_it_is_edited(tmp_path: Path, tree, snapshot) -> None:
    root = tree(
        tmp_path / "set",
        [
            *(
                f"train/{song}/{name}.wav"
                for song in "AB"
                for name in ("Kick", "Lead Vox", "Blorb 2", "Recordier", "MIX")
            )
        ],
    )
    before, draft = snapshot(root), tmp_path / "draft"
    assert write_draft(root, draft) == 4
    assert snapshot(root) == before
    classes, table = draft / "classes.yaml", draft / "stems.csv"
    assert "#   blorb: 2 files, such as train/A/Blorb 2.wav\n" in classes.read_text()
    assert "#   recordier: 2 files, such as train/A/Recordier.wav; perhaps other" in classes.read_text()
    assert "train/A/Recordier.wav,?,A,train,Recordier,,,other\n" in table.read_text().replace("\r", "")
    assert "MIX" not in table.read_text()

    # As it is, the stems are those that were found, and the others are unknown.
    dataset = open_dataset(root, metadata=table, taxonomy=read_taxonomy(str(classes)))
    found = open_dataset(root)
    assert [stem for stem in dataset.stems if not stem.unknown] == list(found.stems)
    assert sum(stem.unknown for stem in dataset.stems) == 4

    table.write_text(table.read_text().replace(",?,", ",other,"))
    assert not any(stem.unknown for stem in open_dataset(root, metadata=table).stems)
    classes.write_text(classes.read_text().replace("other: []", "other: [blorb, recordier]"))
    assert len(open_dataset(root, taxonomy=read_taxonomy(str(classes)))) == 8


def test_a_folder_of_which_nothing_is_understood(tmp_path: Path, tree) -> None:
    root = tree(tmp_path / "set", ["A/blorb.wav", "A/x#1.wav"])
    assert write_draft(root, tmp_path / "draft") == 2
    dataset = open_dataset(root, metadata=tmp_path / "draft/stems.csv")
    assert [(stem.song, stem.path, stem.unknown) for stem in dataset.stems] == [
        ("A", "A/blorb.wav", True), ("A", "A/x#1.wav", True),
    ]  # fmt: skip
    with pytest.raises(DatasetError, match="lies in the dataset"):
        write_draft(root, root / "draft")
    with pytest.raises(DatasetError, match="holds no audio files"):
        write_draft(tree(tmp_path / "empty", ["x.txt"]), tmp_path / "draft")
