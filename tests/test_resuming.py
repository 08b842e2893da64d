"""Rows that are kept song by song: what a kill leaves, and what it costs to keep one more."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from restem.resuming import ResumableRows

REQUEST = {"rows": 1, "settings": {"seed": 1, "classes": ("a", "b")}}


def kept(file: Path, songs: int) -> ResumableRows:
    rows = ResumableRows(file, REQUEST)
    for number in range(songs):
        rows.keep(f"Für {number}\n", [[number, math.nan], {"note": "x"}])
    return rows


def test_they_are_there_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    first = kept(file, 3)
    again = ResumableRows(file, REQUEST)
    (number, nan), note = again.of("Für 2\n") or []
    assert number == 2 and math.isnan(nan) and note == {"note": "x"} and again.of("Für 3\n") is None
    again.keep("Für 3\n", [])
    assert ResumableRows(file, REQUEST).of("Für 3\n") == [] and first.of("Für 0\n") is not None
    again.finish()
    assert list(tmp_path.iterdir()) == []


def test_those_of_another_request_are_discarded(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    kept(file, 3)
    other = ResumableRows(file, {**REQUEST, "rows": 2})
    assert other.of("Für 0\n") is None
    other.keep("Für 1\n", [7])
    assert ResumableRows(file, REQUEST).of("Für 1\n") is None
    assert ResumableRows(file, {**REQUEST, "rows": 2}).of("Für 1\n") == [7]


def test_a_kill_may_leave_any_part_of_the_last_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    kept(file, 2)
    whole = file.read_bytes()
    last = whole.rindex(b"{", 0, whole.rindex(b"rows"))
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        rows = ResumableRows(file, REQUEST)
        assert rows.of("Für 1\n") is None and (rows.of("Für 0\n") is not None) == (length >= last), length
        rows.keep("Für 2\n", [length])
        again = ResumableRows(file, REQUEST)
        assert again.of("Für 2\n") == [length] and (again.of("Für 0\n") is not None) == (length >= last), length


DAMAGES = (b"\0" * 40 + b"\n", b"[]\n", b'{"song": []}\n', b'{"song": {}, "rows": 1}\n', b"\xff\n")


@pytest.mark.parametrize("damage", DAMAGES)
def test_lines_after_damage_are_not_believed(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "rows.jsonl"
    kept(file, 2)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
    rows = ResumableRows(file, REQUEST)
    assert rows.of("Für 0\n") is not None and rows.of("Für 1\n") is None
    rows.keep("Für 1\n", [1])
    assert ResumableRows(file, REQUEST).of("Für 1\n") == [1]


def test_what_was_kept_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, dumped, dumps = tmp_path / "rows.jsonl", list[int](), json.dumps

    def counting(content: object) -> str:
        dumped.append(len(text := dumps(content)))
        return text

    monkeypatch.setattr("restem.resuming.json.dumps", counting)
    kept(file, 200)
    assert sum(dumped) < 2 * file.stat().st_size


def test_in_memory_alone(tmp_path: Path) -> None:
    rows = ResumableRows(None, REQUEST)
    rows.keep("a", [1])
    rows.finish()
    assert rows.of("a") == [1] and list(tmp_path.iterdir()) == []
