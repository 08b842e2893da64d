from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from restem import fitting
from restem.errors import RestemError
from restem.executing.processes import IN_THIS_PROCESS, available_cores
from restem.labelling.classifier import load_classifier
from restem.labelling.computing import Computing
from restem.labelling.mixing import Mixer, MixingSettings
from restem.labelling.scoring import ScoringTask, score_segments
from restem.labelling.training import TrainingTask, steps_done, train_classifier


def weights(task: TrainingTask) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(task.folder / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two networks are the same to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_learns_to_tell_tones_from_noise(make_task: Callable[..., TrainingTask]) -> None:
    """On stems it never features, as they are, and at other levels with other equaliser curves."""
    task = make_task("learn", steps=150)
    task = replace(
        task,
        training=replace(task.training, epoch_steps=150),
        mixing=replace(task.mixing, counts=(0.7, 0.3)),
    )
    train_classifier(task)
    whole = task.held_out
    assert whole is not None
    classes = task.config.classes
    logits = score_segments(ScoringTask(task.folder, whole.stems, whole.stem, whole.start, 50, classes))
    assert np.mean((logits > 0) == (whole.targets > 0.5)) > 0.9

    mixer = Mixer(whole, whole.stems, MixingSettings(segment_s=1.0, counts=(1.0,)), task.config.mel, 9)
    power, targets = mixer.batch(0, 0, 200)
    classifier = load_classifier(task.folder)
    with torch.inference_mode():
        found = classifier(torch.from_numpy(power)).numpy() > 0
    assert np.mean(found == (targets > 0.5)) > 0.8


class TestFolder:
    def test_what_it_leaves(self, make_task: Callable[..., TrainingTask]) -> None:
        task = make_task("folder", steps=12)
        assert not task.finished and steps_done(task) == 0
        train_classifier(task)
        assert task.finished and steps_done(task) == 12
        names = {path.name for path in task.folder.iterdir()}
        assert names == {"model.safetensors", "config.json", "log"}
        assert list((task.folder / "log").glob("events.*"))
        assert load_classifier(task.folder).config == task.config
        assert all(torch.isfinite(values).all() for values in weights(task).values())

    def test_a_finished_one_is_left_alone(self, make_task: Callable[..., TrainingTask]) -> None:
        task = make_task("finished", steps=5)
        train_classifier(task)
        before = {path: path.stat().st_mtime_ns for path in task.folder.rglob("*")}
        # Not even the features are needed.
        for entry in Path(task.pool.stems.folder).rglob("*.mel"):
            entry.unlink()
        train_classifier(task)
        assert {path: path.stat().st_mtime_ns for path in task.folder.rglob("*")} == before

    def test_features_that_have_gone(self, make_task: Callable[..., TrainingTask]) -> None:
        task = make_task("gone")
        for entry in Path(task.pool.stems.folder).rglob("*.mel"):
            entry.unlink()
        with pytest.raises(RestemError, match=r"\.mel: has gone; run the command again"):
            train_classifier(task)
        assert not task.finished


class TestDeterminism:
    def test_the_same_twice_and_another_for_another_seed(self, make_task: Callable[..., TrainingTask]) -> None:
        tasks = [make_task("one", seed=1), make_task("again", seed=1), make_task("other", seed=2)]
        for task in tasks:
            torch.rand(7)  # whatever was drawn before
            train_classifier(task)
        one, again, other = map(weights, tasks)
        assert same(one, again)
        assert not any(torch.equal(one[name], other[name]) for name in one if one[name].std() > 0)

    def test_held_out_songs_do_not_change_the_weights(self, make_task: Callable[..., TrainingTask]) -> None:
        """They are only watched: with or without them, training is the same as long as it is not stopped early."""
        watched = make_task("watched", held_out=True)
        unwatched = replace(watched, folder=watched.folder.with_name("unwatched"), held_out=None)
        train_classifier(watched)
        train_classifier(unwatched)
        assert same(weights(watched), weights(unwatched))

    def test_stops_early_when_nothing_gets_better(self, make_task: Callable[..., TrainingTask]) -> None:
        task = make_task("early", steps=100)
        task = replace(task, training=replace(task.training, patience=1, learning_rate=1e-9))
        calls = []
        original = Mixer.batch

        def counting(self: Mixer, epoch: int, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
            calls.append(epoch)
            return original(self, epoch, first, count)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Mixer, "batch", counting)
            train_classifier(task)
        assert task.finished
        assert len([epoch for epoch in calls if epoch < 100]) < 50


# A training in a process that kills itself, as by `kill -9`, at a chosen moment.
TRAIN = """
import os, pickle, sys
from pathlib import Path
from restem.labelling import mixing, training

task = pickle.loads(Path(sys.argv[1]).read_bytes())
moment, at = sys.argv[2], int(sys.argv[3])
calls = 0

def killing(function):
    def wrapper(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    return wrapper

if moment == "batch":
    mixing.Mixer.batch = killing(mixing.Mixer.batch)
elif moment == "checkpoint":
    import torch
    torch.save = killing(torch.save)
else:
    Path.replace = killing(Path.replace)
training.train_classifier(task)
"""


class TestKill:
    # A checkpoint is made after steps 5, 10, 15 and 20; every fifth step is followed by two batches of validation.
    @pytest.mark.parametrize(
        ("moment", "at"), [("batch", 3), ("batch", 20), ("checkpoint", 2), ("rename", 1), ("rename", 2)]
    )
    def test_goes_on_to_the_same_weights(
        self, make_task: Callable[..., TrainingTask], run_python: Callable, tmp_path: Path, moment: str, at: int
    ) -> None:
        uninterrupted, task = make_task("uninterrupted"), make_task("killed")
        train_classifier(uninterrupted)
        (tmp_path / "task").write_bytes(pickle.dumps(task))
        killed = run_python(TRAIN, tmp_path / "task", moment, at)
        assert killed.returncode == -9, killed.stderr
        assert not task.finished
        assert steps_done(task) <= 20
        train_classifier(task)
        assert same(weights(task), weights(uninterrupted))
        left = {path.name for path in task.folder.iterdir() if not path.name.startswith(".")}
        assert left == {"model.safetensors", "config.json", "log"}

    def test_goes_on_from_the_checkpoint(
        self, make_task: Callable[..., TrainingTask], run_python: Callable, tmp_path: Path
    ) -> None:
        """Steps that were done are not done again."""
        task = make_task("killed")
        (tmp_path / "task").write_bytes(pickle.dumps(task))
        assert run_python(TRAIN, tmp_path / "task", "batch", 17).returncode == -9
        assert steps_done(task) == 10
        epochs = []
        original = Mixer.batch

        def counting(self: Mixer, epoch: int, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
            epochs.append(epoch)
            return original(self, epoch, first, count)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Mixer, "batch", counting)
            train_classifier(task)
        assert min(epochs) == 2 and epochs.count(2) == epochs.count(3) == 5

    def test_damaged_checkpoint(
        self, make_task: Callable[..., TrainingTask], run_python: Callable, tmp_path: Path
    ) -> None:
        """As after a power failure: the training begins again rather than never."""
        uninterrupted, task = make_task("uninterrupted", steps=10), make_task("killed", steps=10)
        train_classifier(uninterrupted)
        (tmp_path / "task").write_bytes(pickle.dumps(task))
        assert run_python(TRAIN, tmp_path / "task", "batch", 9).returncode == -9
        for length in (0, 1000, -100):
            damaged = replace(task, folder=tmp_path / f"damaged{length}")
            shutil.copytree(task.folder, damaged.folder)
            checkpoint = damaged.folder / "last.ckpt"
            checkpoint.write_bytes(checkpoint.read_bytes()[:length])
            train_classifier(damaged)
            assert same(weights(damaged), weights(uninterrupted))


def test_precision_and_threads_are_the_tasks_not_the_machines(
    make_task: Callable[..., TrainingTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that would choose another precision, the weights are the same."""
    tasks = [replace(make_task(name, steps=10), precision="bf16-mixed", threads=1) for name in ("one", "other")]
    train_classifier(tasks[0])
    monkeypatch.setattr(fitting, "precision", lambda _: "32-true")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")  # by which Lightning knows a process that Slurm started
    train_classifier(tasks[1])
    assert same(*map(weights, tasks))
    third = replace(make_task("third", steps=10), threads=1)
    train_classifier(third)
    assert not same(weights(tasks[0]), weights(third))


def test_how_it_is_computed_is_decided_once() -> None:
    found = Computing.decided("cpu", 3, IN_THIS_PROCESS)
    assert found == Computing("cpu", fitting.precision("cpu"), max(1, available_cores() // 3))
    before = {"device": "cpu", "precision": "bf16-mixed", "threads": 7}
    assert Computing.decided("cpu", 3, IN_THIS_PROCESS, before) == Computing(**before)
    # Another device has other precisions.
    assert Computing.decided("cpu", 3, IN_THIS_PROCESS, {**before, "device": "cuda"}) == found
