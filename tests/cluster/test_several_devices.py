"""A training of several processes: on two cores, for want of GPUs, which differs in Lightning's backend only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy

COMMAND = [sys.executable, "-m", "restem", "train"]
QUICK = [
    "--device", "cpu", "--steps", "8", "--batch", "4", "--rate", "16000", "--segment", "1", "--set", "n_fft=256",
    "--set", "hop=128", "--set", "bands=8", "--set", "width=8", "--set", "depth=1",
]  # fmt: skip


def train(songs: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    cache = str(out.parent / "cache")
    return subprocess.run(
        [*COMMAND, str(songs), "--out", str(out), "--cache", cache, *QUICK, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def weights(folder: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / "model.safetensors")


def test_two_processes_train_as_one(write_band: Callable[..., Path], tmp_path: Path) -> None:
    songs = write_band(tmp_path / "songs", songs=4, seconds=3.0)
    alone = train(songs, tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    together = train(songs, tmp_path / "together", "--devices", "2", "--strategy", "ddp")
    assert together.returncode == 0, together.stderr
    # Said and written by the first process alone.
    assert together.stderr.count("learning from") == 1
    record = json.loads((tmp_path / "together" / "training.json").read_text())
    assert record["finished"] and record["steps"] == 8 and (record["devices"], record["nodes"]) == (2, 1)
    # The same batches: what differs is the order of sums, far less than what the training changed.
    one, two = weights(tmp_path / "alone"), weights(tmp_path / "together")
    apart = np.sqrt(sum(np.sum((one[name] - two[name]) ** 2) for name in one))
    other = train(songs, tmp_path / "other", "--seed", "1")
    assert other.returncode == 0, other.stderr
    three = weights(tmp_path / "other")
    assert apart < 0.05 * np.sqrt(sum(np.sum((one[name] - three[name]) ** 2) for name in one))
    refused = train(songs, tmp_path / "together")
    assert refused.returncode == 1 and "differs in --devices" in refused.stderr
    refused = train(songs, tmp_path / "three", "--devices", "3")
    assert refused.returncode == 2 and "--batch must be a multiple of all --devices" in refused.stderr
