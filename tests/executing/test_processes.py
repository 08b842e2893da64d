"""Functions of the standard library stand in for work: a worker process cannot import a test module."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from restem.errors import RestemError, UsageError
from restem.executing.processes import Processes, available_cores


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_item_once_with_its_index(workers: int, count: int) -> None:
    items = [float(n * n) for n in range(count)]
    assert sorted(Processes(workers).map_unordered(math.sqrt, items)) == [(n, float(n)) for n in range(count)]


def test_results_come_as_they_are_ready(tmp_path: Path) -> None:
    """The first item cannot end before the others' results are here: it reads what is written only then."""
    waiting, empty = tmp_path / "waiting", tmp_path / "empty"
    os.mkfifo(waiting)
    empty.touch()
    results = Processes(2).map_unordered(Path.read_bytes, [waiting, empty, empty])
    assert sorted([next(results), next(results)]) == [(1, b""), (2, b"")]
    waiting.write_bytes(b"go on")
    assert list(results) == [(0, b"go on")]


@pytest.mark.parametrize("settings", [{}, {"gpus": 1}, {"cpus": 2}])
@pytest.mark.parametrize("workers", [1, 2])
def test_one_call_at_a_time_is_made_in_this_process(workers: int, settings: dict[str, int]) -> None:
    """Nothing is pickled: a function made here would not survive it."""
    if workers > 1 and not settings:
        pytest.skip("two processes")
    assert list(Processes(workers).map_unordered(lambda item: (item, os.getpid()), [3, 4], **settings)) == [
        (0, (3, os.getpid())),
        (1, (4, os.getpid())),
    ]


@pytest.mark.parametrize("chunk", [1, 3, 10])
def test_items_can_be_handed_over_several_at_once(chunk: int) -> None:
    found = sorted(Processes(2).map_unordered(math.sqrt, [float(n * n) for n in range(7)], chunk=chunk))
    assert found == [(n, float(n)) for n in range(7)]


@pytest.mark.parametrize("workers", [0, -3])
def test_no_workers_are_refused(workers: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Processes(workers)


def test_one_worker_does_no_more_than_is_asked_for() -> None:
    done = []
    results = Processes(1).map_unordered(done.append, [1, 2, 3])
    next(results)
    assert done == [1]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_through(workers: int) -> None:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(Processes(workers).map_unordered(math.sqrt, [1.0, -1.0, 4.0]))


def test_a_worker_that_dies_is_an_error_with_a_remedy() -> None:
    with pytest.raises(RestemError, match="workers=1"):
        list(Processes(2).map_unordered(os._exit, [1, 1, 1]))
    # The next call starts new ones.
    assert sorted(Processes(2).map_unordered(math.sqrt, [1.0, 4.0])) == [(0, 1.0), (1, 2.0)]


def test_a_call_whose_worker_dies_once_is_made_again(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
mark, done = Path({str(tmp_path / "mark")!r}), Path({str(tmp_path / "done")!r})
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
done.touch()
"""
    assert sorted(Processes(2).map_unordered(exec, ["pass", program, "pass"])) == [(n, None) for n in range(3)]
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("chunk", [1, 4])
def test_only_items_whose_workers_die_are_lost(chunk: int) -> None:
    """They are told, and all others are computed, whatever they were sent with."""
    items = [f"{n} * {n}" for n in range(20)]
    items[3] = items[11] = "__import__('os')._exit(1)"
    found = dict(Processes(2).map_unordered(eval, items, chunk=chunk, lost=lambda item, why: f"{item}: {why}"))
    lost = {3: found.pop(3), 11: found.pop(11)}
    assert all(why.startswith("__import__") and "died twice" in why for why in lost.values())
    assert found == {n: n * n for n in range(20) if n not in lost}


def test_paths_are_relative_to_where_the_caller_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for workers that were started elsewhere."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        monkeypatch.chdir(tmp_path / name)
        found = Processes(2).map_unordered(Path.read_text, [Path("file"), Path("file")])
        assert sorted(found) == [(0, name), (1, name)]


def test_few_files_may_be_open(tmp_path: Path, write_songs: Callable[..., Path], run_python: Callable) -> None:
    """More stems than files that a process may have open: nothing is kept open for a stem or a task."""
    program = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from restem.audio.store import Store
from restem.executing.processes import Processes
sources = [(path, 0) for path in sorted(Path(sys.argv[1]).rglob("*.flac"))]
store = Store(Path(sys.argv[2]))
assert store.fill(sources, Processes(2)) == {}
kept = [store.require(source) for source in sources]
print(len(kept), len({one.power(0, 2).shape for one in kept}))
"""
    songs = write_songs(tmp_path / "songs", songs=75, seconds=0.1)
    found = run_python(program, songs, tmp_path / "cache")
    assert found.stdout == "300 1\n", found.stderr


def test_a_script_needs_no_main_guard(tmp_path_factory: pytest.TempPathFactory, start_python: Callable) -> None:
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(
        "import math\n"
        "from restem.executing.processes import Processes\n"
        "print(sorted(Processes(2).map_unordered(math.sqrt, [1.0, 4.0, 9.0])))\n"
    )
    output, _ = start_python(script).communicate()
    assert output == "[(0, 1.0), (1, 2.0), (2, 3.0)]\n"


def test_workers_end_with_the_process_that_started_them(start_python: Callable) -> None:
    program = """
from restem.executing.processes import Processes
work = "import time; print('at work', flush=True); time.sleep(100_000)"
list(Processes(2).map_unordered(exec, [work, work]))
"""
    parent = start_python("-c", program)
    assert [parent.stdout.readline() for _ in range(2)] == ["at work\n", "at work\n"]
    workers = psutil.Process(parent.pid).children()
    assert len(workers) >= 2
    parent.send_signal(signal.SIGKILL)
    psutil.wait_procs(workers)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_cores_of_this_process(run_python: Callable) -> None:
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from restem.executing.processes import available_cores
print(available_cores())
"""
    assert run_python(program).stdout == "1\n"
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
