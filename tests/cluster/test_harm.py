"""Machines, workers and the sending process die; the results are the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from restem.audio.store import Store
from restem.dataset.layouts import open_dataset
from restem.errors import RestemError
from restem.executing import ray_cluster
from restem.executing.choosing import executor_for
from restem.labelling.refining import refine_labels
from restem.labelling.rounds import WORK_FOLDER
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings

QUICK = RefineSettings(folds=2, steps=15, training=TrainingSettings(batch=8, epoch_steps=5, validation_mixtures=8))


def entries(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.mel")}


def test_a_machine_that_is_lost_while_the_store_is_filled(
    nodes, write_songs: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = open_dataset(write_songs(tmp_path / "songs", songs=10, seconds=2.0))
    sources = [(dataset.file(stem), 0) for stem in dataset.stems]
    Store(tmp_path / "here").fill(sources)

    def report(done: int, _: int) -> None:
        if done == 5:
            nodes.remove()

    assert Store(tmp_path / "there").fill(sources, executor_for(None, nodes.address), report) == {}
    assert len(nodes.workers) == 1
    assert entries(tmp_path / "there") == entries(tmp_path / "here") and len(entries(tmp_path / "here")) == 40


def test_a_worker_that_is_killed_once(nodes, tmp_path: Path) -> None:
    """The call is made again: whoever finds no mark leaves one and dies."""
    program = f"""
import os, signal
from pathlib import Path
mark, done = Path({str(tmp_path / "mark")!r}), Path({str(tmp_path / "done")!r})
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
done.touch()
"""
    assert list(executor_for(None, nodes.address).map_unordered(exec, [program, "pass"], chunk=2)) == [
        (0, None),
        (1, None),
    ]
    assert (tmp_path / "done").exists()


def test_an_item_that_kills_every_worker_is_told_and_the_others_go_on(
    nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that were sent with it."""
    monkeypatch.setattr(ray_cluster, "RETRIES", 1)  # each takes seconds
    program = f"""
import os
with open({str(tmp_path / "tried")!r}, "a") as file:
    file.write("x")
os._exit(1)
"""
    executor = executor_for(None, nodes.address)
    lost = list(executor.map_unordered(exec, ["pass", program, "pass"], chunk=3, lost=lambda _, why: why))
    assert sorted(index for index, _ in lost) == [0, 1, 2]
    assert dict(lost)[1] == "its process died every time, perhaps for lack of memory"
    # Once and again with the others, then alone.
    assert (tmp_path / "tried").read_text() == "x" * 2 * (1 + 1)
    with pytest.raises(RestemError, match="its process died"):
        list(executor.map_unordered(os._exit, [1]))


def test_what_a_function_raises_comes_through_and_ends_the_others(nodes, tmp_path: Path) -> None:
    program = f"import time; time.sleep(60); open({str(tmp_path / 'late')!r}, 'w')"
    results = executor_for(None, nodes.address).map_unordered(exec, ["1 / 0", program])
    with pytest.raises(ZeroDivisionError):
        list(results)
    # The machine is free again.
    assert list(executor_for(None, nodes.address).map_unordered(len, ["a", "bc"])) in (
        [(0, 1), (1, 2)],
        [(1, 2), (0, 1)],
    )
    assert not (tmp_path / "late").exists()


def test_the_sender_is_killed_and_the_same_command_goes_on(
    nodes, write_band: Callable[..., Path], start_python: Callable, tmp_path: Path
) -> None:
    songs = write_band(tmp_path / "songs", songs=2)
    refine_labels(open_dataset(songs), tmp_path / "whole", QUICK, cache=tmp_path / "cache", device="cpu", workers=1)
    program = """
import sys
from restem.dataset.layouts import open_dataset
from restem.labelling.refining import refine_labels
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
settings = RefineSettings(folds=2, steps=15, training=TrainingSettings(batch=8, epoch_steps=5, validation_mixtures=8))
refine_labels(open_dataset(sys.argv[1]), sys.argv[2], settings, cache=sys.argv[3], device="cpu", ray=sys.argv[4])
"""
    sender = start_python("-c", program, songs, tmp_path / "out", tmp_path / "cache", nodes.address)
    checkpoints = (tmp_path / "out" / WORK_FOLDER).glob
    while not (list(checkpoints("round*/fold*/last.ckpt")) or sender.poll() is not None):
        time.sleep(0.02)
    os.killpg(sender.pid, signal.SIGKILL)
    assert sender.wait() == -signal.SIGKILL and not (tmp_path / "out" / "labels.csv").exists()
    refine_labels(
        open_dataset(songs), tmp_path / "out", QUICK, cache=tmp_path / "cache", device="cpu", ray=nodes.address
    )
    for name in ("labels.csv", "segments.parquet", "classifier/model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
