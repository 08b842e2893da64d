"""What is left out of a dataset is said, and nothing is left out of a mixture unasked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

import restem
from restem.cli.main import run_command
from restem.errors import DatasetError, RestemError, UsageError

RATE_HZ = 16000
TRAINING = ["--steps", "1", "--batch", "1", "--segment", "0.5", "--rate", "16000", "--device", "cpu", "--workers", "1"]
SMALL = ["--set", "n_fft=256", "--set", "hop=128", "--set", "bands=12", "--set", "width=8", "--set", "depth=1"]


@pytest.fixture
def songs(tmp_path: Path, write_band: Callable) -> Path:
    root = write_band(tmp_path / "songs", songs=2, seconds=2.0)
    (root / "Song 1" / ".hidden").touch()
    soundfile.write(root / "Song 1" / "mixture.wav", np.zeros(100), RATE_HZ)
    (root / "Song 2" / "vocals_2.wav").mkdir()
    return root


def commands(songs: Path, out: Path) -> dict[str, list[str]]:
    cache = ["--cache", str(out / "cache")]
    return {
        "corrupt": ["corrupt", str(songs), str(out / "noisy"), "--workers", "1"],
        "train": ["train", str(songs), "--out", str(out / "model"), *TRAINING, *SMALL, *cache],
        "evaluate": ["evaluate", "--estimates", str(songs), str(songs)],
    }


@pytest.mark.parametrize("command", ["corrupt", "train", "evaluate"])
def test_stems_of_other_classes(songs: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*commands(songs, tmp_path)[command], "--classes", "vocals,other"]
    assert run_command(line) == 1
    said = capsys.readouterr()
    assert "4 files of other classes would be missing in the mixtures (the first: 'Song 1/bass.wav')" in said.err
    assert "--classes" in said.err and "--only" in said.err and "Traceback" not in said.err
    assert run_command([*line, "--only"]) == 0
    said = capsys.readouterr()
    assert "layout songs, 2 songs, 4 stems (2 vocals, 2 other)" in said.out
    assert "Left out: 4 files, as Song 1/bass.wav: no class of the taxonomy" in said.out
    assert "Left out: 1 file, as Song 2/vocals_2.wav/: a folder, though" in said.out
    assert "1 file, as Song 1/mixture.wav: the mixture, not a stem" in said.out and "Song 1/.hidden: hidden" in said.out


@pytest.mark.parametrize("command", ["corrupt", "train", "evaluate"])
def test_every_stem_is_in_the_mixture(songs: Path, tmp_path: Path, command: str) -> None:
    assert run_command(commands(songs, tmp_path)[command]) == 0


def test_refine_leaves_them_out_and_its_separators_need_only(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = ["--cache", str(tmp_path / "cache"), "--device", "cpu", "--workers", "1"]
    refine = ["refine", str(songs), "--out", str(tmp_path / "run"), "--steps", "1", "--folds", "1", *cache]
    assert run_command([*refine, "--classes", "vocals,other"]) == 0
    assert "Left out: 4 files, as Song 1/bass.wav: no class of the taxonomy" in capsys.readouterr().out
    described = restem.open_run(tmp_path / "run").description["dataset"]
    assert described["unclassed"] == 4 and sum(described["left_out"].values()) == 7
    train = ["train", str(tmp_path / "run"), "--out", str(tmp_path / "model"), *TRAINING, *SMALL, *cache[:2]]
    assert run_command(train) == 1
    assert "4 files of other classes would be missing in the mixtures" in capsys.readouterr().err
    assert run_command([*train, "--only"]) == 0
    assert "the refined labels of 4 stems" in capsys.readouterr().out


def test_a_scan_lists_mistakes_first_and_its_csv_everything(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        (songs / "Song 1" / f".file{number}").touch()
        soundfile.write(songs / "Song 1" / f"mix_{number}.wav", np.zeros(100), RATE_HZ)
        (songs / "Song 1" / f"a{number}.txt").touch()
    soundfile.write(songs / "Song 2" / "whatever.wav", np.zeros(100), RATE_HZ)
    assert run_command(["scan", str(songs), "--workers", "1", "--csv", str(tmp_path / "scan.csv")]) == 0
    out = capsys.readouterr().out
    listed = out[out.index("\nskipped\n") :].splitlines()[2:]
    assert "vocals_2.wav/: a folder" in listed[0] and "whatever.wav: no class" in listed[1]
    assert "mix_1.wav" not in out and ".file1" not in out
    assert "skipped: 31 files, the mixture, not a stem" in out and "skipped: 31 files, hidden" in out
    table = pl.read_csv(tmp_path / "scan.csv", infer_schema=False)
    assert table.height == 8 + 2 + 31 + 31 + 30
    reasons = dict(table.filter(pl.col("skipped") != "").select("stem", "skipped").rows())
    assert reasons["Song 1/mixture.wav"] == "the mixture, not a stem" and reasons["Song 1/.hidden"] == "hidden"
    assert table.filter(pl.col("skipped") == "").height == 8


def test_many_reasons_are_not_a_page(songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        (songs / "Song 1" / f"a.x{number}").touch()
    assert run_command(["evaluate", "--estimates", str(songs), str(songs)]) == 0
    said = capsys.readouterr().out
    assert said.count("Left out: ") == 9 and "for other reasons; `restem scan` lists them" in said


def test_a_class_without_stems_is_a_warning(songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = "vocals,drums,bass,other,tuba,harp"
    assert run_command(["evaluate", "--estimates", str(songs), str(songs), "--classes", classes]) == 0
    assert "No stem is labelled tuba or harp" in capsys.readouterr().err
    assert run_command(["scan", str(songs), "--classes", classes, "--workers", "1"]) == 0
    assert "No stem is labelled tuba." in capsys.readouterr().out


@pytest.mark.parametrize("classes", ["vocals", "vocals,vocal", "vox,vocals,drums", "drums,drum", "other,others"])
def test_nothing_to_tell_apart(songs: Path, tmp_path: Path, classes: str) -> None:
    dataset = restem.open_dataset(songs, taxonomy=restem.read_taxonomy(classes))
    alone = "," not in classes
    with pytest.raises(UsageError, match="use `target='vocals'`" if alone else "are the same"):
        restem.train(dataset, tmp_path / "model", only=True)
    with pytest.raises(UsageError, match="at least two classes" if alone else "are the same"):
        restem.refine(dataset, tmp_path / "run")
    assert not (tmp_path / "model").exists() and not (tmp_path / "run").exists()


def test_only_one_class_has_stems(songs: Path, tmp_path: Path) -> None:
    for name in ("drums", "bass", "other"):
        for song in ("Song 1", "Song 2"):
            (songs / song / f"{name}.wav").unlink()
    with pytest.raises(DatasetError, match="only vocals has stems; there is nothing to tell it from"):
        restem.train(songs, tmp_path / "model", cache=tmp_path / "cache", device="cpu", workers=1)


def test_different_things_are_different_classes() -> None:
    for classes in ("piano,keys", "guitar1,guitar2", "winds,flute", "vocals,drums"):
        restem.read_taxonomy(classes).check_learnable()
    with pytest.raises(RestemError):
        restem.read_taxonomy("vocals,vocals")
