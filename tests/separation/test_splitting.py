"""Splitting within an export: what becomes of a stem that several classes share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

import restem
from restem.dataset.table import Dataset
from restem.errors import RestemError
from restem.runs.run import Run, write_run
from restem.separation.separator import SeparatorConfig, save_separator

RATE_HZ = 8000


@pytest.fixture
def run(songs: Dataset, tmp_path: Path) -> Run:
    """The first song: a stem of bass and drums, one of drums, one that is unsure, and one of vocals."""
    stems = songs.stems[:4]
    classes = songs.taxonomy.classes
    refined = ["drums+bass", "drums", "vocals+other", "vocals"]
    labels = pl.DataFrame(
        {
            "song": [stem.song for stem in stems], "stem": [stem.name for stem in stems],
            "given": [songs.taxonomy.format(stem.given) for stem in stems], "refined": refined,
            "verdict": ["changed", "kept", "unsure", "kept"],
            "quality": 0.5, **dict.fromkeys(classes, 0.5), "seconds": 4.0, "active_seconds": 4.0,
        }
    )  # fmt: skip
    segments = pl.DataFrame(
        {"song": ["song0"], "stem": [stems[0].name], "start_s": 0.0, "end_s": 1.0, "level_db": -20.0}
    ).with_columns(pl.lit(0.5).alias(name) for name in classes)
    dataset = {"root": str(songs.root), "classes": list(classes), "aliases": {}, "fingerprint": "f"}
    return write_run(tmp_path / "run", songs.taxonomy, labels, segments, {"dataset": dataset, "licence": "CC0"})


@pytest.fixture
def separator(songs: Dataset, tmp_path: Path) -> Path:
    """One that has learned nothing: its estimates are far from adding up to what they are estimates of."""
    torch.manual_seed(0)
    small = {"n_fft": 256, "hop": 128, "bands": 12, "width": 16, "depth": 1}
    config = SeparatorConfig("band_split", songs.taxonomy.classes, rate_hz=RATE_HZ, segment_s=1.0, parameters=small)
    save_separator(tmp_path / "separator", config, config.build().network.state_dict())
    return tmp_path / "separator"


def test_estimates_add_up_to_the_stem(run: Run, songs: Dataset, separator: Path, tmp_path: Path) -> None:
    summary = restem.export(run, tmp_path / "split", split=separator, device="cpu")
    split = restem.open_dataset(summary.path)
    assert sorted(songs.taxonomy.format(stem.given) for stem in split.stems) == [
        "bass", "drums", "drums", "other", "vocals",
    ]  # fmt: skip
    parts = [soundfile.read(path)[0] for path in sorted(summary.path.rglob("*.estimate.wav"))]
    whole, _ = soundfile.read(songs.file(songs.stems[0]))
    assert len(parts) == 2
    assert np.abs(np.sum(parts, axis=0) - whole).max() < 1e-4
    assert all(np.abs(part).max() > 0.01 for part in parts)


def test_estimates_are_marked(run: Run, separator: Path, tmp_path: Path) -> None:
    out = restem.export(run, tmp_path / "split", split=separator, device="cpu").path
    table = pl.read_csv(out / "stems.csv")
    assert table.filter(pl.col("estimate") == "yes")["labels"].to_list() == ["drums", "bass"]
    assert table.filter(pl.col("estimate") == "yes")["path"].str.contains("estimate").all()
    stems = json.loads((out / "restem.json").read_text())["stems"]
    assert [stem["estimate"] for stem in stems if "estimate" in stem] == ["drums", "bass"]
    assert len({stem["stem"] for stem in stems if "estimate" in stem}) == 1


def test_layouts_of_single_labels_gain_them(run: Run, separator: Path, tmp_path: Path) -> None:
    names = {}
    for split in (None, separator):
        out = restem.export(run, tmp_path / f"songs-{split is None}", layout="songs", split=split, device="cpu").path
        names[split] = sorted(path.name for path in (out / "song0").iterdir())
    assert names[None] == ["drums.wav", "vocals.wav"]
    # Both stems of drums are there, the estimate as well.
    assert names[separator] == ["bass.wav", "drums.wav", "drums_2.wav", "vocals.wav"]


def test_refusals(run: Run, songs: Dataset, separator: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RestemError, match="holds no finished separator"):
        restem.export(run, tmp_path / "out", split=tmp_path / "empty", device="cpu")
    small = {"n_fft": 256, "hop": 128, "bands": 12, "width": 16, "depth": 1}
    other = SeparatorConfig("band_split", ("vocals", "drums"), rate_hz=RATE_HZ, segment_s=1.0, parameters=small)
    save_separator(tmp_path / "two", other, other.build().network.state_dict())
    with pytest.raises(RestemError, match=r"trained on vocals,drums, and cannot split bass"):
        restem.export(run, tmp_path / "out", split=tmp_path / "two", device="cpu")
    cut = songs.file(songs.stems[0])
    cut.write_bytes(cut.read_bytes()[:20])
    summary = restem.export(run, tmp_path / "out", split=separator, device="cpu")
    assert list(summary.failed) == [songs.stems[0].name]
    assert not list((tmp_path / "out").rglob("*bass*.estimate.wav"))
