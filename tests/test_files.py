from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from restem.files import write_json, written_aside


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


def test_json_is_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"song": "Für Elise", "n": [1, 2]})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "Für Elise" in text and text.endswith("}\n") and len(text.splitlines()) > 3
    assert json.loads(text) == {"song": "Für Elise", "n": [1, 2]}
