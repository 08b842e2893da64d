"""A dry run says what would be done, and nothing is written anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from restem.cli.main import run_command
from restem.dry_running import would_begin
from restem.files import write_json
from restem.planning.plan import duration, plan
from restem.planning.rates import in_parallel, lengths, spread
from restem.separation.separator import SeparatorConfig, save_separator

REFINE = ["--steps", "2", "--folds", "2", "--encoder", "none"]
TRAIN = ["--steps", "4", "--batch", "2", "--segment", "0.5", "--rate", "8000", "--set", "width=8"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> Path:
    """A folder with `songs`, a `run` of them, an untrained separator `model`, a `cache`, and an `audit`."""
    root = tmp_path_factory.mktemp("dry")
    band_writer(root / "songs", songs=2, seconds=3.0)
    config = SeparatorConfig(
        "band_split", ("vocals", "drums", "bass", "other"), rate_hz=8000, segment_s=0.5, parameters={"width": 8}
    )
    save_separator(root / "model", config, config.build().network.state_dict())
    command = ["refine", str(root / "songs"), "--out", str(root / "run"), "--cache", str(root / "cache")]
    assert run_command([*command, "--workers", "1", *REFINE]) == 0
    assert run_command(["audit", str(root / "songs"), "--out", str(root / "audit"), "--workers", "1"]) == 0
    return root


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        (["refine", "songs", "--out", "new", "--cache", "cold", "--workers", "2", *REFINE], ["features", "training"]),
        (["train", "run", "--out", "new", "--cache", "cold", *TRAIN], ["decoding", "training"]),
        (["train", "songs", "--out", "new", "--cache", "cold", "--max-time", "1s", *TRAIN], ["decoding", "training"]),
        (["audit", "songs", "--out", "new"], ["auditing songs"]),
        (["corrupt", "songs", "new"], ["corrupting"]),
        (["export", "run", "new"], ["linking"]),
        (["export", "run", "new", "--link", "copy", "--split", "model"], ["copying", "splitting"]),
        (["export", "run", "new", "--layout", "musdb", "--json", "new.json"], ["exporting"]),
        (["export", "run", "new", "--remove-bleed", "--audit", "audit"], ["taking out bleed", "linking"]),
        (["separate", "model", "songs/*/bass.wav", "--out", "new"], ["separating"]),
        (["evaluate", "model", "songs", "--out", "new", "--device", "cpu"], ["separating", "measuring"]),
        (["evaluate", "--estimates", "songs", "songs"], ["measuring"]),
    ],
    ids=lambda value: " ".join(value[:3]) if value[0] in ("refine", "train", "audit", "corrupt", "export") else None,
)
def test_it_says_what_and_writes_nothing(
    arguments: list[str], stages: list[str], place: Path, snapshot: Callable, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "default-cache"))
    before, folders = snapshot(place), sorted(place.rglob("*"))
    assert run_command([*arguments, "--dry-run"]) == 0
    assert snapshot(place) == before and sorted(place.rglob("*")) == folders
    said = capsys.readouterr().out
    for name in stages:
        assert re.search(rf"^  .*{name} .*\d+ (s|min)", said, re.MULTILINE), said
    assert re.search(r"Would read .*(audio|the separator)", said) and said.endswith("Nothing was written.\n")
    assert "Estimated time: " in said


def test_what_is_wrong_is_said_as_ever(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    command = ["refine", "songs", "--cache", "cache", *REFINE, "--dry-run", "--out"]
    assert run_command([*command, "songs/run"]) == 1 and "lies in the dataset" in capsys.readouterr().err
    assert run_command([*command, "run", "--seed", "7"]) == 1 and "differs in --seed" in capsys.readouterr().err
    assert run_command(["export", "run", "songs", "--dry-run"]) == 1
    assert run_command([*command, "run", "--workers", "1"]) == 0
    assert "nothing would be done" in capsys.readouterr().out


def test_what_is_cached_is_not_counted(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    run_command(["refine", "songs", "--out", "new", "--cache", "cache", *REFINE, "--dry-run"])
    said = capsys.readouterr().out
    assert "0 stems of 8, the others are in the cache" in said and "Would write features" not in said


def test_a_dry_run_ends_where_work_begins(tmp_path: Path) -> None:
    reached = []

    def work() -> None:
        reached.append("before")
        write_json(tmp_path / "file.json", {})
        reached.append("after")

    assert would_begin(work) and reached == ["before"] and not list(tmp_path.iterdir())
    assert not would_begin(lambda: None)
    work()
    assert (tmp_path / "file.json").exists()
    assert plan(lambda: None, lambda: pytest.fail("nothing is left to estimate")).stages == ()


def test_lengths_of_many_stems_are_estimated_from_some(place: Path) -> None:
    songs = sorted((place / "songs").rglob("*.wav"))
    assert lengths([(path, 0) for path in songs]).tolist() == pytest.approx([3.0] * 8)
    assert lengths([(song, 0) for song in songs] * 100).sum() == pytest.approx(2400.0)
    assert lengths([(place / "none.wav", 0)]).tolist() == [0.0] and len(lengths([])) == 0
    assert spread(range(1000), 3) == [0, 500, 999] and spread([4, 5], 3) == [4, 5]


def test_parallel_work_takes_no_less_than_its_longest_part() -> None:
    assert in_parallel([1.0, 1.0, 1.0, 1.0], 2) == 2.0 and in_parallel([5.0, 1.0], 4) == 5.0
    assert in_parallel(np.zeros(0), 2) == 0.0


def test_durations_in_words() -> None:
    assert [duration(one) for one in (0.2, 3, 99, 110, 7200)] == ["< 1 s", "3 s", "99 s", "2 min", "2 h 0 min"]
