from __future__ import annotations

from pathlib import Path

import pytest

from restem.dataset.truth import read_truth
from restem.errors import DatasetError
from restem.taxonomy import Taxonomy


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_columns_and_label_sets(tmp_path: Path) -> None:
    path = write(
        tmp_path / "truth.csv", 'true,note,song,stem,given\ndrums+vox,x,a,a/b.wav,Bass\n,,"a, b","q""\n.wav",other\n'
    )
    table = read_truth(path, Taxonomy())
    assert table.columns == ["song", "stem", "given", "true"]
    assert table.rows() == [("a", "a/b.wav", "bass", "vocals+drums"), ("a, b", 'q"\n.wav', "other", "")]


def test_stems_may_be_relative_to_their_song(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.csv", "song,stem,given,true\na,bass.ogg,bass,bass\nb,bass.ogg,bass,bass\n")
    assert read_truth(path, Taxonomy())["stem"].to_list() == ["bass.ogg", "bass.ogg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("song,stem,given\n", "the column 'true' is missing"),
        ("song,stem,given,true\n", "holds no rows"),
        ("song,stem,given,true\na,../x,bass,bass\n", "line 2: the path '../x' leads outside"),
        (
            "song,stem,given,true\na,x,bass,bass\n\na,./x,bass,bass\n",
            "line 4: the stem 'x' of 'a' is on line 2 already",
        ),
        ("song,stem,given,true\na,x,bass,kazoo\n", "line 2: 'kazoo' is not a class"),
        ("song,stem,given,true\na,x,bass\n", "line 2: has 3 cells"),
    ],
)
def test_faults(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path / "truth.csv", text)
    with pytest.raises(DatasetError) as caught:
        read_truth(path, Taxonomy())
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.csv: cannot be read as a CSV \(No such file"):
        read_truth(tmp_path / "none.csv", Taxonomy())
