from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from restem.file_names import Names, safe_name, safe_path, song_folders

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)


@given(TEXT)
def test_any_text_becomes_the_name_of_one_file(text: str) -> None:
    name = safe_name(text)
    assert name not in ("", ".", "..")
    assert not name.startswith(".")
    assert "/" not in name
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).touch()
        assert [path.name for path in Path(folder).iterdir()] == [name]
    assert safe_name(name) == name


@given(TEXT)
def test_any_text_becomes_a_path_that_stays_inside(text: str) -> None:
    path = PurePosixPath(safe_path(text))
    assert not path.is_absolute()
    assert ".." not in path.parts


def test_ordinary_names_stay() -> None:
    for name in ("Song A", "train/Song (1) - é猫, it's", "a+b#c"):
        assert safe_path(name) == name


@given(st.lists(TEXT, max_size=20))
def test_every_song_has_a_folder_of_its_own(songs: list[str]) -> None:
    folders = song_folders(songs)
    assert set(folders) == set(songs)
    assert len({folder.casefold() for folder in folders.values()}) == len(folders)
    assert song_folders(songs) == folders


def test_taken_names_are_numbered() -> None:
    names = Names()
    assert [names.take("a", ".wav") for _ in range(3)] == ["a.wav", "a_2.wav", "a_3.wav"]
    assert names.take("A", ".wav") == "A_4.wav"
    assert names.take("a", ".flac") == "a.flac"


def test_no_song_takes_the_name_of_a_file_beside_it() -> None:
    folders = song_folders(["Stems.csv", "stems.csv/a", "stems", "_stems.csv"], ("stems.csv",))
    assert folders == {
        "Stems.csv": "_Stems.csv",
        "stems.csv/a": "_stems.csv/a",
        "stems": "stems",
        "_stems.csv": "_stems.csv_2",
    }
