from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restem.dataset.layouts import open_dataset
from restem.dataset.table import Stem, check_relative, natural_order, split_stem_name
from restem.errors import DatasetError
from restem.taxonomy import Taxonomy

# Letters that have broken a CSV or a path somewhere, and any others.
NASTY = st.sampled_from([*",\"'+#;\n\r\t =&%é猫🎵ß²", "..", "C:", "\\"])
NAMES = st.lists(NASTY | st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=12)
LABELS = st.frozensets(st.sampled_from(Taxonomy().classes))


def usable(name: str) -> bool:
    """Whether a folder of that name stays inside the dataset on every system; on one, `\\` parts folders."""
    leads_out = name.startswith("\\") or ".." in name.split("\\")
    return not leads_out and name != "." and len(name.encode()) <= 200


def table(folder: Path, text: str, name: str = "stems.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder / name


def test_label_sets_songs_and_further_columns(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["a/x.wav", "a/y.wav", "z.flac", "b/q.stem.mp4"])
    text = "song,labels,path,note\nOne,drums+bass,a/x.wav,hm\n,,a/y.wav,\n,vox,z.flac,\nTwo,other,b/q.stem.mp4#3,\n"
    dataset = open_dataset(table(tmp_path, text, "mine.csv"))
    assert dataset.layout == "table"
    assert dataset.root == tmp_path
    assert dataset.stems == (
        Stem("a", "a/y.wav", frozenset()),
        Stem("One", "a/x.wav", frozenset({"bass", "drums"})),
        Stem("Two", "b/q.stem.mp4", frozenset({"other"}), 3),
        Stem("z", "z.flac", frozenset({"vocals"})),
    )
    assert open_dataset(tmp_path).stems == dataset.stems


def test_stems_csv_is_preferred_and_others_are_ambiguous(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["a/vocals.wav"])
    row = "path,labels\na/vocals.wav,drums\n"
    table(tmp_path, "song,stem,given,true\n", "truth.csv")
    assert open_dataset(tmp_path).layout == "songs"
    table(tmp_path, row, "one.csv")
    assert open_dataset(tmp_path).layout == "table"
    table(tmp_path, row, "two.csv")
    with pytest.raises(DatasetError, match=r"one\.csv and two\.csv both list stems"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, layout="songs").layout == "songs"
    table(tmp_path, row)
    assert open_dataset(tmp_path).layout == "table"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,song\na/x.wav,1\n", "the column 'labels' is missing"),
        ("path;labels\na/x.wav;bass\n", "the column 'path' is missing"),
        ("", "the column 'path' is missing"),
        ("path,labels\n", "lists no stems"),
        ("path,labels\na/x.wav,bass\n\na/none.wav,bass\n", "line 4: "),
        ("path,labels\n../x.wav,bass\n", "line 2: the path '../x.wav' leads outside"),
        ("path,labels\n/etc/passwd,bass\n", "leads outside"),
        ("path,labels\na\\..\\..\\x.wav,bass\n", "leads outside"),
        ("path,labels\nC:\\x.wav,bass\n", "leads outside"),
        ("path,labels\n,bass\n", "leads outside"),
        ("path,labels\na/x.wav,bass\na/y.wav,\n./a//x.wav,bass\n", "line 4: the stem 'a/x.wav' is listed on line 2"),
        ('path,labels\n"a/\nb.wav",bass\na/x.wav,bass+kazoo\n', "line 2: "),
        ("path,labels\na/x.wav,bass+kazoo\n", "line 2: 'kazoo' is not a class"),
        ("path,labels\na,bass\n", "is a folder, not an audio file"),
        ("path,labels\na/x.wav,bass,drums\n", "line 2: has 3 cells where the first line has 2"),
        ('path,labels\n"a/x.wav,bass\n', "cannot be read as a CSV"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path: Path, tree, text: str, says: str) -> None:
    tree(tmp_path, ["a/x.wav", "a/y.wav"])
    path = table(tmp_path, text)
    for given_path in (path, tmp_path):
        with pytest.raises(DatasetError) as caught:
            open_dataset(given_path)
        assert says in str(caught.value)
        assert str(path) in str(caught.value)
        assert str(caught.value).count("\n") <= 1


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "stems.csv").write_bytes(b"path,labels\n\xff\xfe.wav,bass\n")
    with pytest.raises(DatasetError, match=r"stems\.csv: cannot be read as a CSV"):
        open_dataset(tmp_path)


def test_tables_from_excel_and_windows(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["a/x.wav"])
    (tmp_path / "stems.csv").write_bytes(b"\xef\xbb\xbfpath,labels\r\na\\x.wav,bass\r\n")
    assert [stem.path for stem in open_dataset(tmp_path).stems] == ["a/x.wav"]


@settings(max_examples=80)
@given(rows=st.dictionaries(NAMES.map("".join).filter(usable), st.tuples(LABELS, NAMES.map("".join)), min_size=1))
def test_round_trip_with_nasty_names(rows: dict[str, tuple[frozenset[str], str]]) -> None:
    taxonomy = Taxonomy()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stems = set()
        with (root / "stems.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "labels", "song"])
            for name, (labels, song) in rows.items():
                path = f"d/{name}.wav"
                (root / "d").mkdir(exist_ok=True)
                (root / path).touch()
                stems.add(Stem(song if song.strip() else "d", path, labels))
                writer.writerow([path, taxonomy.format(labels), song])
        assert set(open_dataset(root).stems) == stems


@given(name=NAMES.map("".join), stream=st.none() | st.integers(0, 99))
def test_stem_names_name_one_stream(name: str, stream: int | None) -> None:
    path = f"a/{name}.stem.mp4"
    assert split_stem_name(Stem("a", path, frozenset(), stream).name) == (path, stream)


def test_a_number_sign_in_a_file_name_is_no_stream() -> None:
    assert split_stem_name("a/take#2") == ("a/take#2", None)
    assert split_stem_name("a/take#2.wav") == ("a/take#2.wav", None)
    assert split_stem_name("a/take.mp4#2.wav") == ("a/take.mp4#2.wav", None)


def test_a_colon_is_an_ordinary_letter() -> None:
    assert check_relative("Title: Subtitle/vocals.wav", "x") == "Title: Subtitle/vocals.wav"
    assert check_relative("A: B/vocals.wav", "x") == "A: B/vocals.wav"


@given(st.lists(st.text(max_size=8), max_size=6))
def test_natural_order_orders_any_text(names: list[str]) -> None:
    assert len(sorted(names, key=natural_order)) == len(names)
    assert natural_order("take2") < natural_order("take10") < natural_order("take10b")
