from __future__ import annotations

import importlib.util
import itertools
import json
import math
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch

import restem
from restem.dataset.table import Dataset
from restem.errors import DatasetError, RestemError, RunError, UsageError
from restem.renaming import RenamedWarning
from restem.separation import remixing
from restem.separation import training_module as training
from restem.separation.losses import set_sdr
from restem.separation.models import MODELS, default_parameters
from restem.separation.recipes import RECIPES, with_recipe
from restem.separation.separator import load_separator
from restem.separation.train import train
from restem.separation.train_settings import TrainSettings
from restem.separation.training_figures import FIGURES
from restem.separation.training_module import one_cycle


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    """Whether two separators are the same to the last bit."""
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_takes_the_path_of_a_dataset_and_settings_by_name(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    train(songs, tmp_path / "one", quick, cache=tmp_path / "cache", device="cpu")
    quickly = {name: value for name, value in vars(quick).items() if value != getattr(TrainSettings(), name)}
    train(str(songs.root), str(tmp_path / "other"), cache=tmp_path / "cache", device="cpu", **quickly)
    assert same(tmp_path / "one", tmp_path / "other")


def test_learns_to_separate(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    settings = replace(quick, steps=60, batch=4, epoch_steps=60, learning_rate=1e-2)
    separator = train(songs, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu")
    stems = torch.stack(
        [
            torch.from_numpy(soundfile.read(songs.root / "song0" / f"{name}.wav", dtype="float32")[0].T)
            for name in songs.taxonomy.classes
        ]
    )[None]
    one_each = torch.eye(4)[None]
    with torch.inference_mode():
        outputs = separator(stems.sum(dim=1))
    mixture = stems.sum(dim=1, keepdim=True).expand_as(stems)
    assert set_sdr(outputs, one_each, stems) > set_sdr(mixture, one_each, stems) + 8.0


def test_songs_that_share_a_recording_are_validated_on_together(
    songs: Dataset, quick: TrainSettings, tmp_path: Path
) -> None:
    sound, rate_hz = soundfile.read(songs.root / "song0" / "bass.wav")
    noise = 0.1 * np.random.default_rng(0).standard_normal(sound.shape)
    for song in ("song0", "song1", "song2"):
        soundfile.write(songs.root / song / "bass.wav", noise, rate_hz)
    found = restem.audit(songs.root, tmp_path / "audit", workers=1)
    groups = found.duplicate_songs()
    assert groups == dict.fromkeys(("song0", "song1", "song2"), "song0")
    data, settings = str(songs.root), replace(quick, steps=2, epoch_steps=2)
    train(data, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu", audit=found.path)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["duplicates"] == groups
    with pytest.raises(RunError, match="`duplicates`"):
        train(data, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu")
    (songs.root / "song3" / "bass.wav").unlink()
    with pytest.raises(RunError, match="another dataset"):
        train(data, tmp_path / "other", settings, cache=tmp_path / "cache", device="cpu", audit=found)


def test_unfit_stems_are_left_out(
    songs: Dataset, quick: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO", "restem.separation.train")
    found = restem.audit(songs.root, tmp_path / "audit", workers=1)
    monkeypatch.setattr(type(found), "unfit", lambda _: ["song0/bass.wav"])
    settings = replace(quick, steps=2, epoch_steps=2, validation=0.0)
    train(songs, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu", audit=found)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["unfit"] == ["song0/bass.wav"]
    assert "1 stem left out, as the audit found" in caplog.text


class TestFolder:
    def test_what_it_leaves(self, songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
        out, seen = tmp_path / "out", []
        train(
            songs, out, quick, cache=tmp_path / "cache", device="cpu", licence="CC0", workers=1,
            progress=lambda *report: seen.append(report),
        )  # fmt: skip
        assert {path.name for path in out.iterdir()} == {"model.safetensors", "config.json", "training.json", "log"}
        config = load_separator(out).config
        assert config.licence == "CC0" and config.dataset == songs.fingerprint()
        assert config.classes == songs.taxonomy.classes and config.parameters["width"] == 16
        record = json.loads((out / "training.json").read_text())
        assert record["finished"] and record["stems"] == {"learned": 20, "kept_aside": 4, "failed": {}, "notes": {}}
        assert {stage for stage, _, _ in seen} == {"decoding", "training"}
        assert seen[-1] == ("training", 12, 12)
        assert record["steps"] == 12 and all(math.isfinite(record[name]) for name in FIGURES)

        # Asked for again, it is read back; for anything else, the folder is taken.
        before = (out / "model.safetensors").stat().st_mtime_ns
        train(songs, out, quick, cache=tmp_path / "cache", device="cpu", licence="CC0")
        assert (out / "model.safetensors").stat().st_mtime_ns == before
        with pytest.raises(RunError, match="differs in `seed`"):
            train(songs, out, replace(quick, seed=1), cache=tmp_path / "cache", device="cpu")

    def test_refused(self, songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="never written to"):
            train(songs, songs.root / "out", quick)
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "letter.txt").write_text("dear")
        with pytest.raises(RunError, match="is not empty"):
            train(songs, tmp_path / "full", quick, cache=tmp_path / "cache")
        for options in ({"threads": 0}, {"nodes": 0}, {"strategy": "nonsense"}):
            with pytest.raises(UsageError):
                train(songs, tmp_path / "out", quick, cache=tmp_path / "cache", device="cpu", **options)

    def test_broken_stems_are_left_out(self, songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
        (songs.root / "song0" / "bass.wav").write_bytes(b"RIFF")
        train(songs, tmp_path / "out", replace(quick, steps=1), cache=tmp_path / "cache", device="cpu", workers=1)
        failed = json.loads((tmp_path / "out" / "training.json").read_text())["stems"]["failed"]
        assert list(failed) == ["song0/bass.wav"]
        for path in songs.root.rglob("*.wav"):
            path.write_bytes(b"")
        with pytest.raises(DatasetError, match="nothing to learn from"):
            train(songs, tmp_path / "none", quick, cache=tmp_path / "other", device="cpu", workers=1)


def test_the_same_twice_and_another_for_another_seed(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        train(songs, tmp_path / name, replace(quick, seed=seed, steps=4), cache=tmp_path / "cache", device="cpu")
    assert same(tmp_path / "one", tmp_path / "again")
    assert not same(tmp_path / "one", tmp_path / "other")


TRAIN = """
import os, pickle, sys
from pathlib import Path
from restem.separation import remixing
from restem.separation.train import train

dataset, out, settings, cache, at = pickle.loads(Path(sys.argv[1]).read_bytes())
calls = 0
original = remixing.Remixer.batch

def killing(*arguments):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), 9)
    return original(*arguments)

remixing.Remixer.batch = killing
train(dataset, out, settings, cache=cache, device="cpu")
"""


def test_killed_and_resumed_is_as_uninterrupted(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    train(songs, tmp_path / "whole", quick, cache=cache, device="cpu")
    # Killed in the third epoch: two are done, and the separator of the second is there to be used.
    task = tmp_path / "task"
    task.write_bytes(pickle.dumps((songs, tmp_path / "cut", quick, cache, 12)))
    done = subprocess.run([sys.executable, "-c", TRAIN, str(task)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not json.loads((tmp_path / "cut" / "training.json").read_text())["finished"]
    load_separator(tmp_path / "cut")
    train(songs, tmp_path / "cut", quick, cache=cache, device="cpu")
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_interrupted_and_resumed_is_as_uninterrupted(
    songs: Dataset, quick: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Ctrl-C, which Lightning answers by ending the process, and by ignoring the next one."""
    original, calls = remixing.Remixer.batch, iter(range(1000))

    def interrupting(*arguments: object) -> object:
        if next(calls) == 12:
            raise KeyboardInterrupt
        return original(*arguments)

    answering = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(remixing.Remixer, "batch", interrupting)
    with pytest.raises(KeyboardInterrupt):
        train(songs, tmp_path / "cut", quick, cache=tmp_path / "cache", device="cpu")
    assert signal.getsignal(signal.SIGINT) is answering
    assert (tmp_path / "cut" / "last.ckpt").exists()
    train(songs, tmp_path / "cut", quick, cache=tmp_path / "cache", device="cpu")
    train(songs, tmp_path / "whole", quick, cache=tmp_path / "cache", device="cpu")
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_batches_are_accumulated(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    """Two batches of two are the step of one batch of four, over the same examples."""
    settings = replace(quick, steps=1, batch=4, validation=0.0)
    one = train(songs, tmp_path / "one", settings, cache=tmp_path / "cache", device="cpu")
    halves = replace(settings, batch=2, accumulate=2)
    two = train(songs, tmp_path / "two", halves, cache=tmp_path / "cache", device="cpu")
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)
    record = json.loads((tmp_path / "two" / "training.json").read_text())
    assert record["steps"] == 1


def test_stops_when_it_gets_no_better(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    settings = replace(quick, steps=400, epoch_steps=2, patience=2, learning_rate=1e-12)
    train(songs, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["finished"] and record["steps"] < 100


def test_the_best_epoch_on_songs_kept_aside_is_kept(
    songs: Dataset, quick: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three epochs whose losses are said to be 3, 1 and 2, and of the same three if the last were the best."""
    original, draw = training.set_loss, remixing.Remixer.batch

    def trained(name: str, losses: tuple[float, ...], batches: int = 1000) -> dict:
        """The record of a training that is interrupted after so many batches, those of validations included."""
        said, left = iter(loss for loss in losses for _ in range(2)), iter(range(batches))  # of two batches each

        def told(*arguments: object) -> torch.Tensor:
            return original(*arguments) if torch.is_grad_enabled() else torch.tensor(next(said))

        def drawing(*arguments: object) -> object:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return draw(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(training, "set_loss", told)
            patch.setattr(remixing.Remixer, "batch", drawing)
            found = train(songs, tmp_path / name, quick, cache=tmp_path / "cache", device="cpu")
            assert found.fingerprint() == load_separator(tmp_path / name).fingerprint()
        return json.loads((tmp_path / name / "training.json").read_text())

    for name, losses, best in (("second", (3.0, 1.0, 2.0), 8), ("third", (3.0, 2.0, 1.0), 12)):
        record = trained(name, losses)
        assert record["steps"] == 12 and record["kept"]["steps"] == best and record["kept"]["validation_loss"] == 1.0
    assert not same(tmp_path / "second", tmp_path / "third")
    # What is kept are the averaged weights of that epoch, with which a training that ends there is left.
    with pytest.raises(KeyboardInterrupt):
        trained("cut", (3.0, 1.0), 8 + 2 * 2)
    assert same(tmp_path / "cut", tmp_path / "second")


class TestRecipes:
    @pytest.mark.parametrize("recipe", RECIPES)
    def test_each_model_has_one_that_it_can_be_built_with(self, recipe: str) -> None:
        assert set(RECIPES[recipe]) == set(MODELS)
        for model, one in RECIPES[recipe].items():
            assert set(one.settings) <= set(vars(TrainSettings()))
            if model == "band_split" or importlib.util.find_spec("demucs" if "demucs" in model else "bs_roformer"):
                assert set(one.sizes) <= set(default_parameters(model))

    def test_options_count_more(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "restem.separation.train")
        chosen = with_recipe(TrainSettings(recipe="gpu-24", batch=3, parameters={"depth": 2}))
        assert (chosen.batch, chosen.segment_s, chosen.parameters) == (3, 4.0, {"width": 128, "depth": 2})
        assert "not measured" in caplog.text
        assert with_recipe(TrainSettings(recipe="gpu-24"), sizes=False).parameters == {}
        assert with_recipe(TrainSettings(batch=3)) == TrainSettings(batch=3)
        with pytest.raises(UsageError, match="no recipe"):
            TrainSettings(recipe="tpu")  # type: ignore[arg-type]


def test_weights_that_become_nan_are_not_kept(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    with pytest.raises(RestemError, match="lower `learning_rate`"):
        train(songs, tmp_path / "out", replace(quick, learning_rate=1e30), cache=tmp_path / "cache", device="cpu")
    assert not (tmp_path / "out" / "model.safetensors").exists()


class TestFewStems:
    def test_one_song(self, songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
        one = replace(songs, stems=songs.stems[:4])
        train(one, tmp_path / "out", quick, cache=tmp_path / "cache", device="cpu")
        record = json.loads((tmp_path / "out" / "training.json").read_text())
        assert record["stems"] == {"learned": 4, "kept_aside": 0, "failed": {}, "notes": {}}

    def test_only_several_labels(self, songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
        """Stems of two classes each teach sums; what the single outputs are, nothing says."""
        pair, other_pair = songs.taxonomy.parse("drums+bass"), songs.taxonomy.parse("vocals+other")
        labels = {
            stem.name: pair if "bass" in stem.path or "drums" in stem.path else other_pair for stem in songs.stems
        }
        separator = train(songs.with_labels(labels), tmp_path / "out", quick, cache=tmp_path / "cache", device="cpu")
        assert all(weight.isfinite().all() for weight in separator.parameters())

    def test_without_labels_the_folder_stays_free(self, songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
        without = songs.with_labels({stem.name: frozenset() for stem in songs.stems})
        with pytest.raises(DatasetError, match=f"{songs.root}: there is nothing to learn from: no stem has a label"):
            train(without, tmp_path / "out", quick, cache=tmp_path / "cache", device="cpu")
        train(songs, tmp_path / "out", replace(quick, steps=1), cache=tmp_path / "cache", device="cpu")


def test_without_a_mixture_kept_aside_there_is_no_sdr(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    """The only song that is validated on has one stem: an SDR of 0 dB would be a figure of nothing."""
    kept_aside = set(songs.songs[:1])
    few = replace(
        songs,
        stems=tuple(
            replace(stem, split="valid" if stem.song in kept_aside else "")
            for stem in songs.stems
            if stem.song not in kept_aside or "bass" in stem.given
        ),
    )
    train(few, tmp_path / "out", quick, cache=tmp_path / "cache", device="cpu")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert "validation_loss" in record and "validation_sdr" not in record and "mixture_sdr" not in record


def test_a_time_budget_ends_the_training(
    songs: Dataset, quick: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by one second between two looks at it, so that every step takes one."""
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    settings = replace(quick, steps=100_000, max_time=timedelta(seconds=6.5), validation=0.0)
    seen: list[tuple[str, int, int]] = []
    train(
        songs, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu",
        progress=lambda *report: seen.append(report),
    )  # fmt: skip
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["finished"] and record["steps"] == 7
    # The steps that were made, of those that there is time for.
    steps = [(done, total) for stage, done, total in seen if stage == "training"]
    assert steps[0] == (0, 100_000) and steps[-1] == (7, 7)
    assert [done for done, _ in steps] == list(range(8))
    assert all(6 <= total <= 8 for _, total in steps[1:])


class TestSettings:
    @pytest.mark.parametrize(
        "changes",
        [
            {"loss": "l3"}, {"truncate": (0.0,)}, {"truncate": (1.2,)}, {"validation": 1.0}, {"steps": 0},
            {"channels": 6}, {"seed": -1}, {"segment_s": 0.0}, {"segment_s": -1.0}, {"max_time": timedelta()},
            {"max_time": "2h"}, {"coherent": 1.5}, {"rate_hz": 0},
            {"learning_rate": -1.0}, {"learning_rate": float("nan")},
        ],
    )  # fmt: skip
    def test_refused(self, changes: dict) -> None:
        with pytest.raises(UsageError):
            TrainSettings(**changes)

    def test_a_change_that_is_no_setting(self, songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no setting `step`; did you mean `steps`"):
            train(songs, tmp_path / "out", quick, step=3)
        with pytest.raises(UsageError, match="`steps` must be at least 1, not 0"):
            train(songs, tmp_path / "out", quick, steps=0)
        assert not (tmp_path / "out").exists()

    def test_the_earlier_name_of_the_model(self) -> None:
        with pytest.warns(RenamedWarning, match="`model=band` is now called `band_split`"):
            assert TrainSettings(model="band").model == "band_split"  # type: ignore[arg-type]

    def test_the_rate_rises_and_falls(self) -> None:
        rates = [one_cycle(share / 100) for share in range(101)]
        assert rates[5] == pytest.approx(1.0) == max(rates)
        assert rates[:6] == sorted(rates[:6]) and rates[5:] == sorted(rates[5:], reverse=True)
        assert rates[-1] == pytest.approx(0.0, abs=1e-9)
