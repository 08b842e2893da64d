"""What a cluster computes is what this machine computes, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from restem.audio.store import Store
from restem.dataset.layouts import open_dataset
from restem.executing.choosing import executor_for
from restem.executing.processes import Processes
from restem.labelling.pretrained import FOLDER as PRETRAINED_FOLDER
from restem.labelling.refining import refine_labels
from restem.labelling.scoring import ScoringTask, score_segments
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
from restem.runs.export import _split_to
from restem.separation.separator import SeparatorConfig, save_separator
from restem.separation.splitting import make_split
from restem.taxonomy import DEFAULT_CLASSES, Taxonomy

Restem = Callable[..., None]

QUICK = RefineSettings(folds=2, steps=12, training=TrainingSettings(batch=8, epoch_steps=6, validation_mixtures=8))


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> Path:
    """Three songs; in one vocals and drums are confused."""
    root = tmp_path_factory.mktemp("good") / "songs"
    return band_writer(root, songs=3, wrong={(1, "vocals"): "drums", (1, "drums"): "vocals"})


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> Path:
    """Two songs; a stem of one cannot be decoded."""
    root = band_writer(tmp_path_factory.mktemp("damaged") / "songs", songs=2)
    (root / "Song 2" / "other.wav").write_bytes(b"RIFF and nothing else")
    return root


@pytest.fixture(scope="module")
def separator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny separator that has learned nothing."""
    torch.manual_seed(0)
    parameters = {"n_fft": 256, "hop": 128, "bands": 8, "width": 8, "depth": 1}
    config = SeparatorConfig("band_split", DEFAULT_CLASSES, {}, 1, 16000, 1.0, parameters)
    folder = tmp_path_factory.mktemp("separator") / "model"
    save_separator(folder, config, config.build().network.state_dict())
    return folder


def files(folder: Path, *but: str) -> dict[str, bytes]:
    """Every file below a folder, but the log of a training and those named in `but`, which hold times.

    Of WAV files the samples: libsndfile writes the time into those with 32-bit float.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in but]
    return {
        str(path.relative_to(folder)): soundfile.read(path)[0].tobytes() if path.suffix == ".wav" else path.read_bytes()
        for path in paths
        if "events.out" not in path.name
    }


def test_refine_with_a_damaged_stem(nodes, damaged: Path, tmp_path: Path) -> None:
    """Entries of the store, labels, scores of segments, and the weights of the final classifier."""
    found = []
    for name, ray in (("here", None), ("cluster", nodes.address)):
        out, cache = tmp_path / name, tmp_path / f"{name} cache"
        refine_labels(open_dataset(damaged), out, QUICK, cache=cache, device="cpu", workers=2, ray=ray)
        described = json.loads((out / "run.json").read_text())
        assert list(described["failures"]) == ["Song 2/other.wav"]
        found.append((files(cache), files(out, "run.json"), described["computing"]))
    assert len(found[0][0]) == 7 and {"labels.csv", "segments.parquet", "classifier/model.safetensors"} <= set(
        found[0][1]
    )
    assert found[0] == found[1]


def test_logits(nodes, songs: Path, tmp_path: Path) -> None:
    store, dataset = Store(tmp_path / "cache"), open_dataset(songs)
    sources = tuple((dataset.file(stem), 0) for stem in dataset.stems)
    store.fill(list(sources))
    import numpy as np

    tasks = [
        ScoringTask(
            PRETRAINED_FOLDER,
            store.stored(sources[number : number + 1]),
            np.array([0]),
            np.array([0]),
            100,
            DEFAULT_CLASSES,
            threads=1,
        )
        for number in range(len(sources))
    ]
    here, there = (
        [result.tolist() for _, result in sorted(executor.map_unordered(score_segments, tasks, chunk=5))]
        for executor in (Processes(1), executor_for(None, nodes.address))
    )
    assert here == there and len(here) == 12


def test_commands(
    nodes, songs: Path, damaged: Path, separator: Path, tmp_path: Path, restem: Restem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they write lies at a path that is relative to where they are started."""
    monkeypatch.chdir(tmp_path)
    refine_labels(open_dataset(songs), tmp_path / "run", QUICK, cache=tmp_path / "cache", device="cpu", workers=1)
    mixtures = [songs / f"Song {number}" / "drums.wav" for number in (1, 2)]
    links = [Path(f"{number}.wav") for number in (1, 2)]
    for link, mixture in zip(links, mixtures, strict=True):
        link.symlink_to(mixture)
    left = []
    for name, options in (("here", []), ("cluster", ["--ray", nodes.address])):
        out = Path(name)
        out.mkdir()
        restem("scan", damaged, "--csv", out / "scan.csv", *options)
        restem("audit", damaged, "--out", out / "audit", *options)
        restem("corrupt", songs, out / "noisy", "--rate", 0.5, "--seed", 1, *options)
        restem("separate", separator, *links, "--out", out / "separated", "--device", "cpu", *options)
        restem("evaluate", separator, songs, "--out", out / "evaluated", "--device", "cpu", *options)
        restem("export", tmp_path / "run", out / "exported", "--link", "copy", *options)
        restem("export", tmp_path / "run", out / "musdb", "--layout", "musdb", *options)
        left.append(files(out, "audit.json", "report.html", "croissant.json"))
    assert left[0].keys() == left[1].keys() and len(left[0]) > 40
    assert [name for name in left[0] if left[0][name] != left[1][name]] == []


def test_split(nodes, songs: Path, separator: Path, tmp_path: Path) -> None:
    """What `export --split` does with a stem of several labels; the separator is sent to the machine."""
    split = make_split(separator, Taxonomy(DEFAULT_CLASSES))
    job = [(songs / "Song 1" / "drums.wav", None, f"{name}.wav", frozenset({name})) for name in ("drums", "bass")]
    for name, executor in (("here", Processes(1)), ("there", executor_for(None, nodes.address))):
        (tmp_path / name).mkdir()
        assert list(executor.map_unordered(partial(_split_to, tmp_path / name, split), [job])) == [(0, None)]
    assert files(tmp_path / "here") == files(tmp_path / "there") and len(files(tmp_path / "here")) == 2


@pytest.mark.parametrize("rows", [0, 100_000])
def test_only_a_function_with_arrays_is_an_object_of_its_own(nodes, rows: int, monkeypatch) -> None:
    import ray

    put: list[object] = []
    original = ray.put
    monkeypatch.setattr(ray, "put", lambda one: (put.append(one), original(one))[1])
    held = np.arange(rows) if rows else 3
    calls = executor_for(None, nodes.address).map_unordered(partial(np.add, held), list(range(8)), chunk=3)
    found = dict(calls)
    assert all(np.array_equal(found[item], held + item) for item in range(8)) and len(put) == (rows > 0)
