"""Results of what a dataset held before: after a change they are refused, never given again as if they were new."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.audio.store import Store
from restem.cli.main import run_command
from restem.content import _remembered, _sampled, sample_digest
from restem.dataset.corrupt import corrupt
from restem.dataset.layouts import open_dataset
from restem.errors import RunError
from restem.evaluation.separation import evaluate
from restem.labelling.refining import refine_labels
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
from restem.runs.export import export
from restem.runs.run import Run
from restem.separation.separator import Separator, SeparatorConfig
from restem.separation.songs import separate
from restem.separation.train import train
from restem.separation.train_settings import TrainSettings

RATE_HZ = 16000
QUICK = RefineSettings(
    rounds=1, folds=1, steps=1, training=TrainingSettings(batch=8, epoch_steps=4, validation_mixtures=8)
)
SMALL = TrainSettings(
    parameters={"n_fft": 256, "hop": 128, "bands": 12, "width": 16, "depth": 1},
    segment_s=1.0, rate_hz=RATE_HZ, steps=2, batch=2, epoch_steps=2, validation=0.0,
)  # fmt: skip


def swap(root: Path) -> None:
    """Two stems of a song, equally long, take each other's place, with the times they had."""
    drums, bass = root / "Song 1" / "drums.wav", root / "Song 1" / "bass.wav"
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (drums, bass)]
    contents = [path.read_bytes() for path in (drums, bass)]
    for path, content, time in zip((bass, drums), contents, times, strict=True):
        path.write_bytes(content)
        os.utime(path, ns=time)


def silence(root: Path) -> None:
    path = root / "Song 1" / "vocals.wav"
    soundfile.write(path, np.zeros(soundfile.info(path).frames), RATE_HZ, subtype="PCM_16")


def lose(root: Path) -> None:
    (root / "Song 1" / "vocals.wav").write_bytes(b"")


CHANGES = pytest.mark.parametrize("change", [swap, silence, lose])


@pytest.fixture
def songs(tmp_path: Path, write_band: Callable) -> Path:
    return write_band(tmp_path / "songs", songs=2, seconds=3.0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable) -> Path:
    root = tmp_path_factory.mktemp("finished")
    band_writer(root / "songs", songs=2, seconds=3.0)
    refine(root)
    return root


def refine(root: Path) -> Run:
    return refine_labels(open_dataset(root / "songs"), root / "run", QUICK, cache=root / "cache", workers=1)


@CHANGES
def test_refine(finished: Path, change: Callable) -> None:
    songs, before = finished / "songs", finished / "before"
    shutil.copytree(songs, before)
    times = {path: path.stat().st_mtime_ns for path in songs.rglob("*.wav")}
    try:
        change(songs)
        with pytest.raises(RunError, match=r"the dataset has changed since this run .*; choose another `out`"):
            refine(finished)
    finally:
        for path, time in times.items():
            shutil.copyfile(before / path.relative_to(songs), path)
            os.utime(path, ns=(time, time))
        shutil.rmtree(before)
    # The refusal lost nothing: the dataset of before still has its run.
    assert len(refine(finished).labels) == 8


@CHANGES
def test_what_is_made_of_a_run(finished: Path, tmp_path: Path, change: Callable) -> None:
    root = tmp_path / "moved"
    shutil.copytree(finished, root)
    description = (root / "run" / "run.json").read_text()
    (root / "run" / "run.json").write_text(description.replace(str(finished), str(root)))
    export(root / "run", root / "one", link="copy")  # a copy of the dataset is the same dataset
    change(root / "songs")
    with pytest.raises(RunError, match="the dataset has changed since"):
        export(root / "run", root / "two")
    with pytest.raises(RunError, match="the dataset has changed since"):
        train(root / "run", root / "separator", SMALL, cache=root / "cache", device="cpu")


@CHANGES
def test_corrupt(songs: Path, tmp_path: Path, change: Callable) -> None:
    corrupt(songs, tmp_path / "noisy", workers=1)
    corrupt(songs, tmp_path / "noisy", workers=1)
    change(songs)
    with pytest.raises(RunError, match="the dataset has changed since this noisy copy"):
        corrupt(songs, tmp_path / "noisy", workers=1)


@CHANGES
def test_train(songs: Path, tmp_path: Path, change: Callable) -> None:
    train(songs, tmp_path / "out", SMALL, cache=tmp_path / "cache", device="cpu", workers=1)
    change(songs)
    with pytest.raises(RunError, match="the dataset has changed since this training"):
        train(songs, tmp_path / "out", SMALL, cache=tmp_path / "cache", device="cpu", workers=1)


def test_separate(tmp_path: Path, songs: Path) -> None:
    config = SeparatorConfig("band_split", ("vocals", "drums"), rate_hz=RATE_HZ, segment_s=0.5)
    separator: Separator = config.build()
    song = songs / "Song 1" / "other.wav"
    assert not separate(separator, song, tmp_path / "out", device="cpu").failed
    assert not separate(separator, song, tmp_path / "out", device="cpu").failed
    time = song.stat().st_mtime_ns
    content = bytearray(song.read_bytes())
    content[len(content) // 2] ^= 1
    song.write_bytes(content)
    os.utime(song, ns=(time, time))
    (reason,) = separate(separator, song, tmp_path / "out", device="cpu").failed.values()
    assert "the song has changed since" in reason and "choose another `out`" in reason


def test_evaluate(songs: Path, tmp_path: Path) -> None:
    """Songs that were measured before an interruption are measured again when the dataset has changed since."""
    measured = []

    def estimate(song: str, mixture: Iterator[np.ndarray], *_: int) -> Iterator[np.ndarray]:
        measured.append(song)
        if song == "Song 2":
            raise KeyboardInterrupt
        for block in mixture:
            yield np.zeros((4, *block.shape), np.float32)

    def attempt() -> None:
        with pytest.raises(KeyboardInterrupt):
            evaluate(open_dataset(songs), estimate, tmp_path / "out", made_by={"by": "zeros"})

    attempt()
    attempt()
    assert len(measured) == 3
    swap(songs)
    attempt()
    assert len(measured) == 5


def test_other_classes_are_named_as_such(songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["corrupt", str(songs), str(tmp_path / "noisy"), "--workers", "1"]
    assert run_command(command) == 0
    assert run_command([*command, "--classes", "vocals,bass,other,drums"]) == 1
    assert "differs in `classes`" in capsys.readouterr().err


def test_features_of_a_file_that_was_overwritten(songs: Path, tmp_path: Path) -> None:
    """Also with its times kept, its length and its place on the disk the same."""
    store, path = Store(tmp_path / "cache"), songs / "Song 1" / "drums.wav"
    store.fill([(path, 0)])
    assert store.load((path, 0)) is not None
    swap(songs)
    assert store.load((path, 0)) is None


def test_equal_files_have_features_of_their_own(songs: Path, tmp_path: Path) -> None:
    """On two disks, two files may have equal numbers, sizes and times: only the device tells them apart."""
    one, other = songs / "Song 1" / "drums.wav", tmp_path / "drums.wav"
    shutil.copy2(one, other)
    store = Store(tmp_path / "cache")
    assert store.entry((one, 0)) != store.entry((other, 0))


class TestSampleDigest:
    def test_every_byte_of_a_small_file_counts(self, tmp_path: Path) -> None:
        path, content = tmp_path / "a", bytearray(np.random.default_rng(0).bytes(1 << 18))
        path.write_bytes(content)
        digests = {sample_digest(path)}
        for place in (0, 1, 70_000, 131_072, (1 << 18) - 1):
            content[place] ^= 1
            path.write_bytes(content)
            digests.add(sample_digest(path))
        assert len(digests) == 6

    def test_a_large_file(self, tmp_path: Path) -> None:
        """A change of 13 s in three minutes is found wherever it is, and one of a byte at either end.

        The time of writing finds the rest, see `Dataset.written`.
        """
        path, size = tmp_path / "a", 3 * 60 * 44100 * 2
        content = np.random.default_rng(0).bytes(size)
        path.write_bytes(content)
        digests = {sample_digest(path)}
        changed = [content[:-1], content[:-1] + b"x", b"x" + content[1:]]
        stretch = 13 * 44100 * 2
        changed += [content[:i] + bytes(stretch) + content[i + stretch :] for i in range(0, size - stretch, stretch)]
        for one in changed:
            path.write_bytes(one)
            digests.add(sample_digest(path))
        assert len(digests) == 1 + len(changed)

    def test_what_just_changed_is_read_again(self, tmp_path: Path) -> None:
        """Its time of change may stay the same, to the tick of the system's clock."""
        path = tmp_path / "a"
        digests = set()
        for number in range(300):
            path.write_bytes(number.to_bytes(2))
            digests.add(sample_digest(path))
        assert len(digests) == 300

    def test_one_that_is_remembered_is_of_the_content_of_now(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("restem.content._SETTLED_NS", -1)
        path, reads = tmp_path / "a", list[int]()
        monkeypatch.setattr("restem.content._sampled", lambda file: (reads.append(1), _sampled(file))[1])
        path.write_bytes(b"first")
        before, first = path.stat(), sample_digest(path)
        assert sample_digest(path) == first and len(reads) == 1
        while path.stat().st_ctime_ns == before.st_ctime_ns:
            path.write_bytes(b"other")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        assert sample_digest(path) != first and len(reads) == 2
        copy = tmp_path / "b"
        shutil.copy2(path, copy)
        copy.replace(path)
        assert sample_digest(path) != first and len(reads) == 3
        path.unlink()
        with pytest.raises(FileNotFoundError):
            sample_digest(path)

    def test_a_command_reads_it_once(self, songs: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("restem.content._SETTLED_NS", -1)
        read = list[str]()
        monkeypatch.setattr("restem.content._sampled", lambda file: (read.append(file.name), _sampled(file))[1])
        refine(tmp_path)
        files = sorted(str(path) for path in songs.rglob("*.wav"))
        assert sorted(read) == files
        _remembered.clear()
        read.clear()
        train(open_dataset(songs), tmp_path / "model", SMALL, cache=tmp_path / "cache", device="cpu", workers=1)
        assert sorted(read) == files
