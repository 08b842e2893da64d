"""Segments are written in parts, and read stem by stem."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from restem.errors import RunError
from restem.runs import segments_file
from restem.runs.segments_file import SegmentsFile, write_segments
from restem.runs.tables import segments_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()


def table(stems: int = 5) -> pl.DataFrame:
    """Two stems a song, stem `n` of `n + 1` segments."""
    rows = [
        (
            f"song {stem // 2}",
            f"song {stem // 2}/{stem}.wav",
            float(at),
            at + 3.0,
            -20.0,
            *(stem / 10, at / 10, 0.5, 1.0),
        )
        for stem in range(stems)
        for at in range(stem + 1)
    ]
    return pl.DataFrame(rows, schema=segments_schema(TAXONOMY), orient="row")


def test_parts_become_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_file, "_GROUP", 4)
    whole = table()
    write_segments(tmp_path / "parts", TAXONOMY, (whole[first : first + 4] for first in range(0, len(whole), 4)))
    assert pl.read_parquet(tmp_path / "parts").equals(whole)
    monkeypatch.setattr(segments_file, "_AT_ONCE", 7)
    assert pl.concat(SegmentsFile(tmp_path / "parts", TAXONOMY).parts()).equals(whole)


@pytest.mark.parametrize("order", ["stem after stem", "by time", "at random"])
def test_stems_are_found_however_the_file_is_sorted(tmp_path: Path, order: str) -> None:
    whole = table()
    rows = {
        "stem after stem": whole,
        "by time": whole.sort("start_s"),
        "at random": whole.sample(fraction=1.0, shuffle=True, seed=1),
    }
    rows[order].write_parquet(tmp_path / "segments")
    file = SegmentsFile(tmp_path / "segments", TAXONOMY)
    for stem, part in whole.partition_by("stem", as_dict=True).items():
        assert part.equals(file.of(str(stem[0])))
    names = whole["stem"].unique(maintain_order=True).to_list()
    found = file.of_stems([names[3], "no such stem", names[1]])
    assert list(found) == [names[3], names[1]]
    assert found[names[1]].equals(whole.filter(pl.col("stem") == names[1]))
    assert file.of("no such stem") is None


def test_a_value_that_cannot_be_is_found_when_its_stem_is_read(tmp_path: Path) -> None:
    table().with_columns(
        pl.when(pl.col("vocals") > 0.3).then(7.0).otherwise(pl.col("vocals")).alias("vocals")
    ).write_parquet(tmp_path / "segments")
    file = SegmentsFile(tmp_path / "segments", TAXONOMY)
    assert file.of("song 0/0.wav") is not None
    with pytest.raises(RunError, match="'vocals' holds a value that is not a probability"):
        file.of("song 2/4.wav")
    with pytest.raises(RunError, match="'vocals' holds a value"):
        list(file.parts())
