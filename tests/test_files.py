from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restem.files import folder_written_aside, write_json, written_aside


def test_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file.txt"
    with written_aside(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
        assert aside.parent == path.parent
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(ValueError, match="in the middle"), written_aside(path) as aside:
        aside.write_text("half")
        raise ValueError("in the middle")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_aside(tmp_path / "file.txt"):
        pass


def test_two_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """Also within one process: the later one wins, and both are whole."""
    path = tmp_path / "file.txt"
    with written_aside(path) as first, written_aside(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_many_threads(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    content = list(range(1000))
    errors: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(20):
                write_json(path, content)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert json.loads(path.read_text()) == content
    assert list(tmp_path.iterdir()) == [path]


def test_killed_while_writing(tmp_path: Path, run_python: Callable) -> None:
    path = tmp_path / "file.txt"
    path.write_text("before")
    program = """
import os, sys
from pathlib import Path
from restem.files import written_aside
with written_aside(Path(sys.argv[1])) as aside:
    aside.write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert run_python(program, path).returncode == -9
    assert path.read_text() == "before"
    with written_aside(path) as aside:
        aside.write_text("after")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_living_owner_writes_is_left(tmp_path: Path) -> None:
    with written_aside(tmp_path / "a") as first:
        first.write_text("first")
        with written_aside(tmp_path / "a") as second:
            second.write_text("second")
        assert first.exists()
    assert (tmp_path / "a").read_text() == "first"


def test_a_folder_of_many_files_is_not_listed_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[int] = []

    def counting(folder: Path) -> Any:
        listed.append(len(list(scandir(folder))))
        return scandir(folder)

    scandir = os.scandir
    monkeypatch.setattr("restem.files.os.scandir", counting)
    for number in range(2000):
        with written_aside(tmp_path / f"{number}.txt") as aside:
            aside.touch()
    # For each it would be the half of 2,000 squared: 2 million.
    assert listed and sum(listed) < 2000 * 64


def test_what_a_killed_owner_left_is_found_among_many_files(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"{number}.txt").touch()
    (tmp_path / ".500.txt.1a2b3c4d.part").write_text("half")
    (tmp_path / ".mine.part").touch()
    for name in ("a.txt", "499.txt", "500.txt"):
        with written_aside(tmp_path / name) as aside:
            aside.write_text(name)
        assert (tmp_path / ".500.txt.1a2b3c4d.part").exists() == (name != "500.txt")
    assert (tmp_path / ".mine.part").exists() and (tmp_path / "500.txt").read_text() == "500.txt"


def test_an_empty_file_is_written(tmp_path: Path) -> None:
    with written_aside(tmp_path / "a") as aside:
        aside.write_text("")
    assert (tmp_path / "a").read_bytes() == b""


def test_json_is_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"song": "Für Elise", "n": [1, 2]})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "Für Elise" in text and text.endswith("}\n") and len(text.splitlines()) > 3
    assert json.loads(text) == {"song": "Für Elise", "n": [1, 2]}


class TestFolders:
    def test_appears_when_it_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "song"
        with folder_written_aside(path) as aside:
            (aside / "a.txt").write_text("a")
            assert not path.exists() and aside.parent == path.parent
        assert (path / "a.txt").read_text() == "a"
        assert list(path.parent.iterdir()) == [path]

    def test_an_error_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="in the middle"), folder_written_aside(tmp_path / "song") as aside:
            (aside / "a.txt").write_text("half")
            raise ValueError("in the middle")
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_folder_is_taken_and_a_full_one_is_left(self, tmp_path: Path) -> None:
        (tmp_path / "song").mkdir()
        with folder_written_aside(tmp_path / "song") as aside:
            (aside / "a.txt").write_text("first")
        with pytest.raises(OSError, match="not empty"), folder_written_aside(tmp_path / "song") as aside:
            (aside / "a.txt").write_text("second")
        assert (tmp_path / "song" / "a.txt").read_text() == "first"
        assert [one.name for one in tmp_path.iterdir()] == ["song"]

    def test_what_a_killed_owner_left_is_removed(self, tmp_path: Path, run_python: Callable) -> None:
        program = """
import os, sys
from pathlib import Path
from restem.files import folder_written_aside
with folder_written_aside(Path(sys.argv[1])) as aside:
    (aside / "half").touch()
    os.kill(os.getpid(), 9)
"""
        assert run_python(program, tmp_path / "song").returncode == -9
        assert [one.name for one in tmp_path.iterdir() if one.is_dir()] != []
        with folder_written_aside(tmp_path / "song"):
            pass
        assert [one.name for one in tmp_path.iterdir()] == ["song"]

    def test_what_a_living_owner_fills_is_left(self, tmp_path: Path) -> None:
        with folder_written_aside(tmp_path / "song") as first:
            (first / "a.txt").write_text("first")
            with pytest.raises(ValueError, match="gives up"), folder_written_aside(tmp_path / "song"):
                raise ValueError("gives up")
            assert (first / "a.txt").exists()
        assert (tmp_path / "song" / "a.txt").read_text() == "first"

    @pytest.mark.parametrize("name", ["a*", "[song]", "what?"])
    def test_names_are_no_patterns(self, tmp_path: Path, name: str) -> None:
        with folder_written_aside(tmp_path / "ab") as other:
            with folder_written_aside(tmp_path / name):
                pass
            assert other.exists()
