"""Exports for other programs, read by their own code where it can be imported, else by their rules."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
import yaml

import restem
from restem.dataset.layouts import open_dataset
from restem.errors import DatasetError, UsageError
from restem.runs.card import licence_warning
from restem.runs.export import EXPORT_LAYOUTS
from restem.runs.run import Run, labels_schema, write_run
from restem.runs.tables import segments_schema
from restem.runs.training_sets import TRAINING_LAYOUTS
from restem.taxonomy import Taxonomy

CLASSES = ("vocals", "drums", "bass", "other")
RATE_HZ = 8000


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Songs A (two vocals, no bass, a stem that is longer than the others), B and C (test), and D, which is unsure."""
    root, rows, stated = tmp_path / "set", [], {}
    songs = {
        "A": {"vocals": 1.0, "vocals_2": 1.0, "drums": 1.5, "other": 1.0},
        "B": dict.fromkeys(CLASSES, 1.0),
        "C": dict.fromkeys(CLASSES, 1.0),
        "D": {"vocals": 1.0},
    }
    for number, (song, stems) in enumerate(songs.items()):
        for name, seconds in stems.items():
            rng = np.random.default_rng([number, *name.encode()])
            sound = 0.5 * rng.uniform(-1, 1, (round(seconds * RATE_HZ), 1 if name == "drums" else 2))
            path = f"{song}/{name}.wav"
            (root / song).mkdir(parents=True, exist_ok=True)
            soundfile.write(root / path, sound, RATE_HZ, subtype="FLOAT")
            label, verdict = name.removesuffix("_2"), "unsure" if song == "D" else "kept"
            row = {"song": song, "stem": path, "given": label, "refined": label, "verdict": verdict, "seconds": seconds}
            rows.append({**dict.fromkeys(labels_schema(Taxonomy()), 0.5), **row})
            stated[path] = {
                "split": "test" if song == "C" else "train",
                "licence": "CC BY-NC 4.0" if song == "B" else "CC0",
            }
    described = {"root": str(root), "classes": list(CLASSES), "aliases": {}, "stated": stated}
    labels = pl.DataFrame(rows, schema=labels_schema(Taxonomy()))
    segments = pl.DataFrame(schema=segments_schema(Taxonomy()))
    return write_run(tmp_path / "run", Taxonomy(), labels, segments, {"dataset": described})


def wavs(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.wav")}


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, always_2d=True)[0]


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stands in for what these programs import beside their own code, and what needs more than Python."""
    torchaudio, stempeg, distrib = ModuleType("torchaudio"), ModuleType("stempeg"), ModuleType("demucs.distrib")

    def load(path: Any, frame_offset: int = 0, num_frames: int = -1) -> tuple[torch.Tensor, int]:
        sound, rate_hz = soundfile.read(path, start=frame_offset, frames=num_frames, dtype="float32", always_2d=True)
        return torch.from_numpy(sound.T), rate_hz

    def info(path: Any) -> SimpleNamespace:
        found = soundfile.info(str(path))
        return SimpleNamespace(num_frames=found.frames, sample_rate=found.samplerate)

    torchaudio.load, torchaudio.info = load, info  # type: ignore[attr-defined]
    stempeg.Info = lambda path: SimpleNamespace(  # type: ignore[attr-defined]
        samples=lambda _: soundfile.info(path).frames, duration=lambda _: soundfile.info(path).duration,
        rate=lambda _: soundfile.info(path).samplerate, sample_rate=lambda _: soundfile.info(path).samplerate,
    )  # fmt: skip
    distrib.rank, distrib.world_size = 0, 1  # type: ignore[attr-defined]
    stempeg.read_stems = lambda filename, **_: soundfile.read(filename, always_2d=True)  # type: ignore[attr-defined]
    # Imported before, by museval or another test, they would hold the modules that are stood in for; and after, these.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("musdb", "demucs")]:
        monkeypatch.delitem(sys.modules, name)
    for name, module in (("torchaudio", torchaudio), ("stempeg", stempeg), ("demucs.distrib", distrib)):
        monkeypatch.setitem(sys.modules, name, module)
    kept = set(sys.modules)
    yield
    for name in set(sys.modules) - kept:
        if name.partition(".")[0] in ("musdb", "demucs"):
            del sys.modules[name]


def imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{name} cannot be imported ({error})")


def test_complete_songs_of_equal_length(tmp_path: Path, run: Run) -> None:
    summary = restem.export(run, tmp_path / "out", layout="demucs")
    assert (summary.written, summary.left_out) == (12, {"unsure": 1})
    splits = json.loads((summary.path / "restem.json").read_text())["songs"]
    assert sorted(song["split"] for song in splits.values()) == ["test", "train", "valid"]
    for song, described in splits.items():
        folder = summary.path / described["split"] / song
        assert wavs(folder) == {"mixture.wav", *(f"{name}.wav" for name in CLASSES)}
        sounds = {path.stem: read(path) for path in folder.iterdir()}
        assert {sound.shape for sound in sounds.values()} == {(12000 if song == "A" else 8000, 2)}
        np.testing.assert_allclose(sounds["mixture"], sum(sounds[name] for name in CLASSES), atol=1e-6)
    one = summary.path / splits["A"]["split"] / "A"
    assert not read(one / "bass.wav").any()
    both = sum(read(run.dataset_root / f"A/{name}.wav") for name in ("vocals", "vocals_2"))
    np.testing.assert_allclose(read(one / "vocals.wav")[:8000], both, atol=1e-6)
    assert not read(one / "vocals.wav")[8000:].any()


@pytest.fixture
def demucs_sets(tmp_path: Path, run: Run, others: None) -> tuple[Any, Any]:  # noqa: ARG001
    """The sets for training and for validation that Demucs' own code finds in an export."""
    settings = SimpleNamespace(
        wav=str(restem.export(run, tmp_path / "out", layout="demucs").path), metadata=str(tmp_path / "metadata"),
        sources=list(CLASSES), full_cv=True, segment=0.5, shift=0.1, samplerate=RATE_HZ, channels=2, normalize=True,
    )  # fmt: skip
    learned, checked = imported("demucs.wav").get_wav_datasets(settings)
    return learned, checked


def test_demucs_reads_it(demucs_sets: tuple[Any, Any]) -> None:
    learned, checked = demucs_sets
    assert (len(learned.metadata), len(checked.metadata)) == (1, 1)
    assert learned[0].shape == (4, 2, 4000)
    mixture, *sources = checked[0]
    assert torch.isfinite(mixture).all()
    assert len(sources) == 4


def test_demucs_takes_steps_on_it(demucs_sets: tuple[Any, Any]) -> None:
    """From the files to the optimiser, with Demucs' own dataset and model; the loss is the default of its solver."""
    learned, _ = demucs_sets
    torch.manual_seed(0)
    model = imported("demucs.hdemucs").HDemucs(CLASSES, samplerate=RATE_HZ, channels=16, growth=1, depth=5, nfft=1024)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    (batch,) = torch.utils.data.DataLoader(learned, batch_size=len(learned))
    assert batch.shape == (6, 4, 2, 4000)
    losses = []
    for _ in range(3):
        loss = torch.nn.functional.l1_loss(model(batch.sum(1)), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


# Splits that restem finds no stems in: MSST validates on whole songs, and lists those to train on only.
NOT_READ = {"msst-2": ("valid",), "msst-3": ("valid", "test")}


@pytest.mark.parametrize("layout", TRAINING_LAYOUTS)
def test_restem_reads_it(tmp_path: Path, run: Run, layout: Any) -> None:
    out = restem.export(run, tmp_path / "out", layout=layout).path
    dataset = open_dataset(out)
    read_back = {(stem.path, stem.song, stem.split, *stem.given) for stem in dataset.stems}
    records = json.loads((out / "croissant.json").read_text())["recordSet"][0]["data"]
    expected = {
        tuple(record[f"audio/{field}"] for field in ("file", "song", "split", "class"))
        for record in records
        if record["audio/class"] != "mixture" and record["audio/split"] not in NOT_READ.get(layout, ())
    }
    assert read_back == expected
    skipped = {item.path for item in dataset.skipped}
    assert {record["audio/file"] for record in records} - {row[0] for row in expected} <= skipped


@pytest.mark.parametrize("layout", EXPORT_LAYOUTS)
def test_restem_reads_its_own_layouts(tmp_path: Path, run: Run, layout: Any) -> None:
    out = restem.export(run, tmp_path / "out", layout=layout).path
    manifest = json.loads((out / "restem.json").read_text())["stems"]
    expected = {(one["path"], one["refined"], run.stated[one["stem"]]["split"]) for one in manifest}
    dataset = open_dataset(out)
    assert {(stem.path, "+".join(stem.given), stem.split) for stem in dataset.stems} == expected


@pytest.mark.usefixtures("others")
def test_musdb_reads_it(tmp_path: Path, run: Run) -> None:
    musdb = imported("musdb")
    out = restem.export(run, tmp_path / "out", layout="musdb").path
    tracks = musdb.DB(root=str(out), is_wav=True).load_mus_tracks()
    assert {(track.name, track.subset) for track in tracks} == {("A", "train"), ("B", "train"), ("C", "test")}
    for track in tracks:
        assert set(track.sources) == set(CLASSES)
        total = sum(source.audio for source in track.sources.values())
        np.testing.assert_allclose(track.audio, total, atol=1e-6)


def test_open_unmix_finds_no_other_file_than_its_targets(tmp_path: Path, run: Run) -> None:
    out = restem.export(run, tmp_path / "out", layout="open-unmix").path
    for song in (folder for split in ("train", "valid", "test") for folder in (out / split).iterdir()):
        assert wavs(song) == {f"{name}.wav" for name in CLASSES}


def test_msst(tmp_path: Path, run: Run) -> None:
    first = restem.export(run, tmp_path / "1", layout="msst-1").path
    (learned,), (checked,) = (list((first / split).iterdir()) for split in ("train", "valid"))
    assert wavs(learned) == {f"{name}.wav" for name in CLASSES}
    assert wavs(checked) == {f"{name}.wav" for name in (*CLASSES, "mixture")}
    second = restem.export(run, tmp_path / "2", layout="msst-2").path
    held = {f"{name}/{learned.name}.wav" for name in CLASSES if read(learned / f"{name}.wav").any()}
    assert wavs(second / "train") == held
    assert wavs(second / "valid") == {f"{checked.name}/{name}.wav" for name in (*CLASSES, "mixture")}
    third = restem.export(run, tmp_path / "3", layout="msst-3").path
    with (third / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {str(third / "train" / path) for path in held}
    assert all(Path(row["path"]).is_file() and row["instrum"] == Path(row["path"]).parent.name for row in rows)


def test_audiofolder_and_its_card(tmp_path: Path, run: Run) -> None:
    out = restem.export(run, tmp_path / "out", layout="audiofolder").path
    dataset = open_dataset(out)
    assert dataset.layout == "audiofolder"
    assert {stem.split for stem in dataset.stems} == {"train", "valid", "test"}
    assert all(stem.given == {Path(stem.path).parent.name} for stem in dataset.stems)
    assert {stem.licence for stem in dataset.stems if stem.song == "B"} == {"CC BY-NC 4.0"}
    head, text = (out / "README.md").read_text().split("---\n")[1:]
    assert yaml.safe_load(head)["license"] == "other"
    assert "| CC BY-NC 4.0 | 4 |" in text
    assert "4 stems may not be used commercially" in text


@pytest.mark.parametrize("layout", TRAINING_LAYOUTS)
def test_croissant_describes_every_file(tmp_path: Path, run: Run, layout: Any) -> None:
    """The rules of Croissant 1.0, restated: identifiers are unique, hashes are right, records have the fields."""
    out = restem.export(run, tmp_path / "out", layout=layout).path
    described = json.loads((out / "croissant.json").read_text())
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert described["license"] == ["CC0", "CC BY-NC 4.0"]
    assert "4 stems may not be used commercially" in described["description"]
    files = {one["@id"]: one for one in described["distribution"]}
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert set(files) == there - {"README.md", "croissant.json"}
    assert len(files) == len(described["distribution"])
    for path, one in files.items():
        content = (out / one["contentUrl"]).read_bytes()
        assert (one["sha256"], one["contentSize"]) == (hashlib.sha256(content).hexdigest(), f"{len(content)} B"), path
    (records,) = described["recordSet"]
    fields = [one["@id"] for one in records["field"]]
    assert all(list(record) == fields for record in records["data"])
    assert {record["audio/file"] for record in records["data"]} == wavs(out)
    for record in records["data"]:
        path = Path(record["audio/file"])
        assert record["audio/split"] == path.parts[0]
        assert {path.stem, path.parent.name} == {record["audio/class"], record["audio/song"]}
        silent = not read(out / path).any()
        assert record["audio/license"] == ("" if silent else "CC BY-NC 4.0" if record["audio/song"] == "B" else "CC0")


@pytest.mark.parametrize("layout", [*TRAINING_LAYOUTS, *EXPORT_LAYOUTS])
def test_licences_are_not_mixed_silently(tmp_path: Path, run: Run, layout: Any) -> None:
    summary = restem.export(run, tmp_path / "out", layout=layout)
    assert "4 stems may not be used commercially" in str(summary)
    stated = {
        stem: {**facts, "licence": facts["licence"].replace("CC BY-NC 4.0", "CC BY 4.0")}
        for stem, facts in run.stated.items()
    }
    free = replace(run, description={**run.description, "dataset": {**run.description["dataset"], "stated": stated}})
    assert not restem.export(free, tmp_path / "free", layout=layout).warning


def test_a_licence_that_is_given_stands_for_what_is_not_stated(tmp_path: Path, run: Run) -> None:
    facts = {stem: {"split": "train"} for stem in run.stated}
    run = replace(run, description={**run.description, "dataset": {**run.description["dataset"], "stated": facts}})
    named = {"given": {"licence": "CC BY 4.0"}, "none": {}}
    for name, arguments in named.items():
        out = restem.export(run, tmp_path / name, layout="audiofolder", **arguments).path
        licence = arguments.get("licence", "")
        assert json.loads((out / "croissant.json").read_text())["license"] == [licence or "not stated"]
        assert {stem.licence for stem in open_dataset(out).stems} == {licence}


@pytest.mark.parametrize(
    ("licence", "closed"),
    [("CC BY-NC-SA 3.0", True), ("cc_by_nc_4.0", True), ("Non commercial use", True), ("academic use", True),
     ("research only", True), ("CC BY 4.0", False), ("Encore licence", False), ("not stated", False)],
)  # fmt: skip
def test_which_licences_are_non_commercial(licence: str, closed: bool) -> None:
    assert bool(licence_warning({licence: 1, "CC0": 2})) == closed


@pytest.mark.parametrize("layout", TRAINING_LAYOUTS)
def test_refusals(tmp_path: Path, run: Run, layout: Any, snapshot) -> None:
    before = snapshot(run.dataset_root)
    with pytest.raises(DatasetError, match="lies in the dataset"):
        restem.export(run, run.dataset_root / "out", layout=layout)
    out = restem.export(run, tmp_path / "out", layout=layout).path
    with pytest.raises(DatasetError, match="is there already"):
        restem.export(run, out, layout=layout)
    with pytest.raises(UsageError, match="does not go with"):
        restem.export(run, tmp_path / "other", layout=layout, split="separator")
    assert snapshot(run.dataset_root) == before
    (run.dataset_root / "B/bass.wav").write_bytes(b"damaged")
    summary = restem.export(run, tmp_path / "without", layout=layout)
    assert summary.written == 8
    assert any("cannot be mixed" in reason and "bass.wav" in reason for reason in summary.left_out)
