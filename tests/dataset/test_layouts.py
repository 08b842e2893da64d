from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restem.dataset.layouts import LAYOUTS, open_dataset
from restem.dataset.table import Dataset
from restem.errors import DatasetError, UsageError
from restem.taxonomy import Taxonomy

CLASSES = ("vocals", "drums", "bass", "other")


def contents(dataset: Dataset) -> list[tuple[str, str, str]]:
    return [(stem.song, stem.name, dataset.taxonomy.format(stem.given)) for stem in dataset.stems]


def reasons(dataset: Dataset) -> dict[str, str]:
    return {item.path: item.reason for item in dataset.skipped}


def test_songs_in_natural_order(tmp_path: Path, tree) -> None:
    tree(tmp_path, [f"Song {n}/{name}.wav" for n in (10, 2) for name in ("vocals", "drums")])
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "songs"
    assert contents(dataset) == [
        ("Song 2", "Song 2/drums.wav", "drums"),
        ("Song 2", "Song 2/vocals.wav", "vocals"),
        ("Song 10", "Song 10/drums.wav", "drums"),
        ("Song 10", "Song 10/vocals.wav", "vocals"),
    ]


def test_musdb18_hq_subsets_and_mixtures(tmp_path: Path, tree) -> None:
    tree(tmp_path, [f"{s}/Song/{n}.wav" for s in ("train", "test") for n in (*CLASSES, "mixture", "Mix")])
    dataset = open_dataset(tmp_path)
    assert dataset.songs == ("test/Song", "train/Song")
    assert len(dataset) == 8
    assert reasons(dataset) == {
        f"{s}/Song/{n}.wav": "the mixture, not a stem" for s in ("train", "test") for n in ("mixture", "Mix")
    }


def test_aliases_case_and_numbers(tmp_path: Path, tree) -> None:
    names = {"VOX.wav": "vocals", "Lead_Vocals 2.FLAC": "vocals", "Kit-01.mp3": "drums", "other_2.ogg": "other"}
    tree(tmp_path, [f"A/{name}" for name in names])
    assert {Path(stem.path).name: next(iter(stem.given)) for stem in open_dataset(tmp_path).stems} == names


def test_stem_mp4_is_a_song_of_four_streams(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["train/Artist - Title.stem.mp4", "Other One.STEM.MP4"])
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "musdb18"
    assert contents(dataset)[4:] == [
        ("Other One", f"Other One.STEM.MP4#{number}", name)
        for number, name in enumerate(("drums", "bass", "other", "vocals"), start=1)
    ]
    assert dataset.songs == ("Artist - Title", "Other One")
    two = open_dataset(tmp_path, taxonomy=Taxonomy(("vocals", "drums")))
    assert len(two) == 4
    assert len(two.skipped) == 6
    assert "MUSDB18's order" in reasons(two)["Other One.STEM.MP4#0"]


def test_song_folders(tmp_path: Path, tree) -> None:
    tree(
        tmp_path,
        ["a/Vocals/lead.wav", "a/Vocals/vocals.wav", "a/bass/x.wav", "a/mix.wav", "a/thing/y.wav", "b/drums/1.wav"],
    )
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "song-folders"
    assert contents(dataset) == [
        ("a", "a/bass/x.wav", "bass"),
        ("a", "a/Vocals/lead.wav", "vocals"),
        ("a", "a/Vocals/vocals.wav", "vocals"),
        ("b", "b/drums/1.wav", "drums"),
    ]
    assert reasons(dataset)["a/mix.wav"] == "the mixture, not a stem"
    assert "add it as a class" in reasons(dataset)["a/thing/y.wav"]


def test_classes_share_songs_by_name(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["vocals/one.wav", "drums/one.flac", "drums/set/two.wav", "drums/vocals.wav", "thing/x.wav"])
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "classes"
    assert contents(dataset) == [
        ("one", "drums/one.flac", "drums"),
        ("one", "vocals/one.wav", "vocals"),
        ("set/two", "drums/set/two.wav", "drums"),
        ("vocals", "drums/vocals.wav", "drums"),
    ]


def test_a_song_called_like_a_class_is_still_a_song(tmp_path: Path, tree) -> None:
    tree(tmp_path, [f"{song}/{name}.wav" for song in ("Bass", "Two", "Three") for name in CLASSES])
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, len(dataset)) == ("songs", 12)


def test_everything_skipped_has_a_reason(tmp_path: Path, tree) -> None:
    tree(
        tmp_path,
        ["A/vocals.wav", "A/thing.wav", "A/notes.txt", "A/.vocals.wav", ".git/vocals.wav", "vocals.wav", "README"],
    )
    (tmp_path / "A/drums.wav").symlink_to(tmp_path / "nowhere.wav")
    os.mkfifo(tmp_path / "A/bass.wav")
    dataset = open_dataset(tmp_path)
    assert [stem.path for stem in dataset.stems] == ["A/vocals.wav"]
    assert reasons(dataset) == {
        ".git": "hidden",
        "A/.vocals.wav": "hidden",
        "A/bass.wav": "neither a file nor a folder",
        "A/drums.wav": "a link that leads nowhere",
        "A/notes.txt": "not audio (.txt)",
        "A/thing.wav": "no class of the taxonomy; add it as a class or as an alias",
        "README": "not audio (no extension)",
        "vocals.wav": "lies outside of any song folder",
    }


def test_custom_taxonomy(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["A/thing.wav", "A/synth1.wav", "A/synth2.wav"])
    dataset = open_dataset(tmp_path, taxonomy=Taxonomy(("thing", "synth1", "synth2")))
    assert [next(iter(stem.given)) for stem in dataset.stems] == ["synth1", "synth2", "thing"]


def test_folder_links_are_followed_but_never_twice(tmp_path: Path, tree) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    tree(root, ["A/vocals.wav"])
    tree(elsewhere, ["vocals.wav", "drums.wav"])
    (root / "A/up").symlink_to(root)
    (root / "0 first").symlink_to(root / "A")
    (root / "B").symlink_to(elsewhere)
    (elsewhere / "self").symlink_to(elsewhere)
    dataset = open_dataset(root)
    assert [stem.path for stem in dataset.stems] == ["A/vocals.wav", "B/drums.wav", "B/vocals.wav"]
    assert reasons(dataset)["A/up/"] == "a link to the dataset's own folder, which is read already"
    assert reasons(dataset)["0 first/"] == "a link to A/, which is read already"
    assert "B/self/" in reasons(dataset)


def test_file_links_are_stems(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["store/x.wav"])
    (tmp_path / "root/A").mkdir(parents=True)
    (tmp_path / "root/A/vocals.wav").symlink_to(tmp_path / "store/x.wav")
    assert len(open_dataset(tmp_path / "root")) == 1


def test_unreadable_folders_are_listed(tmp_path: Path, tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, ["A/vocals.wav", "B/vocals.wav"])
    real = os.scandir

    def refuse(path):
        if Path(path).name == "B":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 1
    assert reasons(dataset) == {"B/": "cannot be read (Permission denied)"}


def test_a_name_that_is_no_text_is_skipped(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["A/vocals.wav"])
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/A/bass\xff.wav")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    dataset = open_dataset(tmp_path)
    assert [item.reason for item in dataset.skipped] == ["its name is not valid UTF-8; rename it"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "holds no audio files"),
        (["notes.txt"], "holds no audio files"),
        (["A/thing.wav", "B/another.wav"], "holds 2 audio files, such as 'A/thing.wav', but none is in a place named"),
        (["vocals.wav", "drums.wav"], "holds the stems of one song"),
        (["A/vocals.wav", "drums/x.wav"], "is ambiguous"),
        (["A/vocals.wav", "B/drums/x.wav"], "choose a `layout`"),
        (["A/vocals.wav", "A/vocals.flac"], "is the same stem as vocals."),
    ],
)
def test_refusals_name_the_folder_and_the_remedy(tmp_path: Path, tree, files: list[str], says: str) -> None:
    tree(tmp_path, files)
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    message = str(caught.value)
    assert says in message
    assert str(tmp_path) in message
    assert message.count("\n") <= 1


def test_missing_and_wrong_paths(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["x.txt", "A/vocals.wav"])
    with pytest.raises(DatasetError, match="no such folder"):
        open_dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match="neither a folder nor a CSV"):
        open_dataset(tmp_path / "x.txt")
    with pytest.raises(UsageError, match="There is no layout 'song'"):
        open_dataset(tmp_path, layout="song")
    with pytest.raises(DatasetError, match="none fits the layout classes"):
        open_dataset(tmp_path, layout="classes")
    with pytest.raises(DatasetError, match="holds no CSV"):
        open_dataset(tmp_path, layout="table")


def test_a_forced_layout_settles_what_is_ambiguous(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["A/vocals.wav", "drums/x.wav"])
    assert contents(open_dataset(tmp_path, layout="songs")) == [("A", "A/vocals.wav", "vocals")]
    assert contents(open_dataset(tmp_path, layout="classes")) == [("x", "drums/x.wav", "drums")]


def test_vox_beside_vocals_is_two_stems(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["A/vocals.wav", "A/vox.wav", "A/vocals_2.wav"])
    assert len(open_dataset(tmp_path)) == 3


def lines_run(work: Callable[[], object]) -> int:
    """The number of lines of Python that `work` runs: its effort, whatever the machine and what else it does."""
    lines = 0

    def count(_frame: object, event: str, _argument: object) -> Callable:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def test_effort_grows_with_the_number_of_files(tmp_path: Path, tree) -> None:
    """Twice the files, twice the work; what is to be caught is anything quadratic."""
    effort = []
    for songs in (200, 400):
        root = tree(tmp_path / str(songs), [f"{n % 4}/song {n}/{name}.wav" for n in range(songs) for name in CLASSES])
        effort.append(lines_run(lambda root=root: open_dataset(root)))
        assert len(open_dataset(root)) == 4 * songs
    assert 1.8 < effort[1] / effort[0] < 2.2


def test_order_and_fingerprint_do_not_depend_on_where_it_lies(tmp_path: Path, tree) -> None:
    files = [f"{song}/{name}.wav" for song in ("b", "B2", "a10", "a9", "²", "x²") for name in CLASSES]
    first = open_dataset(tree(tmp_path / "one", files))
    second = open_dataset(tree(tmp_path / "two", reversed(files)))
    assert contents(first) == contents(second)
    assert first.fingerprint() == second.fingerprint()


def test_names_that_a_run_could_not_hold(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["AC\\DC/vocals.wav", "A: B/vocals.wav", "a\\..\\b/vocals.wav", "C:/vocals.wav"])
    dataset = open_dataset(tmp_path)
    assert dataset.songs == ("A: B", "AC\\DC")
    assert set(reasons(dataset).values()) == {"its path would lead elsewhere on Windows; rename it"}


def test_the_documentation_names_every_layout() -> None:
    text = (Path(__file__).parents[2] / "docs/datasets.md").read_text(encoding="utf-8")
    assert [name for name in LAYOUTS if f"`{name}`" not in text] == []
