"""The lock of an output folder: one process at a time, whose end, however it comes, frees it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from restem.errors import RunError
from restem.working import LOCK_FILE, alone_in


def test_a_second_one_is_told_who_works(tmp_path: Path, start_python: Callable) -> None:
    out = tmp_path / "out"
    program = """
import sys, time
from pathlib import Path
from restem.working import alone_in
with alone_in(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""
    process = start_python("-c", program, out)
    assert process.stdout.readline() == "in\n"
    with pytest.raises(RunError, match=rf"out: process {process.pid} on .* since .* works in it; wait"), alone_in(out):
        pass
    process.kill()
    process.wait()
    assert (out / LOCK_FILE).exists()
    with alone_in(out):  # what a killed process left stops nobody
        (out / "result").touch()
    assert [path.name for path in out.iterdir()] == ["result"]


def test_within_one_process(tmp_path: Path) -> None:
    with alone_in(tmp_path / "out"):
        with pytest.raises(RunError, match="works in it"), alone_in(tmp_path / "out"):
            pass
        assert (tmp_path / "out" / LOCK_FILE).exists()
        with alone_in(tmp_path / "other"):
            pass
    assert list((tmp_path / "out").iterdir()) == []


def test_an_error_lets_it_go(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gives up"), alone_in(tmp_path / "out"):
        raise ValueError("gives up")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_other_processes_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with alone_in(tmp_path):
        monkeypatch.setenv("LOCAL_RANK", "1")
        with alone_in(tmp_path):
            pass
        assert (tmp_path / LOCK_FILE).exists()


def test_never_two_at_once(tmp_path: Path) -> None:
    """Though the lock's file is made and removed all the time."""
    inside, entered = threading.Lock(), []

    def attempt() -> None:
        for _ in range(200):
            with suppress(RunError), alone_in(tmp_path / "out"):
                entered.append(inside.acquire(blocking=False))
                inside.release()

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) > 4 and all(entered)
    assert list((tmp_path / "out").iterdir()) == []
