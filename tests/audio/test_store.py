from __future__ import annotations

import errno
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from restem.audio import entries as entries_module
from restem.audio import store as store_module
from restem.audio.cache_folder import default_cache
from restem.audio.entries import Source
from restem.audio.mel import MelSettings, mel_power
from restem.audio.store import Store, from_bfloat16, gather_power, to_bfloat16
from restem.audio.stored import StoredArray
from restem.errors import AudioError, RestemError
from restem.executing.processes import Processes

RATE_HZ = 16000
HEADER_BYTES = 4096


def sound(seconds: float = 1.0, channels: int = 1, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((channels, round(seconds * RATE_HZ)))


def write(path: Path, samples: np.ndarray, subtype: str = "FLOAT") -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, RATE_HZ, subtype=subtype)
    return path, 0


def entries(folder: Path) -> dict[str, bytes]:
    """The content of every entry, by its name below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.mel"))}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return write(tmp_path / "in" / "a.wav", sound())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


class TestBfloat16:
    @given(arrays.arrays(np.float32, 20, elements=st.floats(2.0**-100, 2.0**100, width=32)))
    def test_relative_error(self, values: np.ndarray) -> None:
        back = from_bfloat16(to_bfloat16(values))
        assert back.dtype == np.float32
        np.testing.assert_allclose(back, values, rtol=2.0**-8)

    @given(arrays.arrays(np.float32, 20, elements=st.floats(0, 2.0**100, width=32)))
    def test_rounds_as_torch_does(self, values: np.ndarray) -> None:
        expected = torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()
        found = to_bfloat16(values)
        # torch rounds a tie to even, the store upwards; everything else must be the same bits.
        tie = (values.view(np.uint32) & 0xFFFF) == 0x8000
        np.testing.assert_array_equal(found[~tie], expected[~tie])
        assert (found[tie].astype(int) - expected[tie] <= 1).all()

    def test_what_it_holds_exactly_stays(self) -> None:
        values = np.array([0.0, 1.0, 2.0**-100, 0.15625, 3.0e38], np.float32)
        once = from_bfloat16(to_bfloat16(values))
        np.testing.assert_array_equal(once[:4], values[:4])
        np.testing.assert_array_equal(from_bfloat16(to_bfloat16(once)), once)


class TestEntries:
    def test_features_are_mel_power(self, store: Store, tmp_path: Path) -> None:
        samples = sound(2.5, channels=2)
        source = write(tmp_path / "x.wav", samples)
        assert store.load(source) is None
        store.compute(source)
        features = store.load(source)
        assert features is not None
        expected = np.concatenate(list(mel_power([samples.astype(np.float32)], RATE_HZ, MelSettings())))
        assert (features.seconds, features.rate_hz, features.channels, len(features)) == (2.5, RATE_HZ, 2, 125)
        np.testing.assert_allclose(features.power(), expected, rtol=2.0**-8 + 1e-4)
        np.testing.assert_array_equal(features.power(3, 7), features.power()[3:7])
        np.testing.assert_allclose(features.frame_power(), features.power().sum(axis=1), rtol=1e-6)
        assert isinstance(features.rows, StoredArray)

    def test_cache_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert default_cache() == tmp_path / "restem"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert default_cache() == tmp_path / "home" / ".cache" / "restem"

    def test_one_sample(self, store: Store, tmp_path: Path) -> None:
        source = write(tmp_path / "x.wav", np.full((1, 1), 0.5))
        assert store.fill([source]) == {}
        assert len(store.require(source)) == 1

    @pytest.mark.parametrize("channels", [1, 8])
    def test_channels_and_low_rates(self, store: Store, tmp_path: Path, channels: int) -> None:
        path = tmp_path / "x.wav"
        soundfile.write(path, sound(1.0, channels).T, 8000)
        assert store.fill([(path, 0)]) == {}
        features = store.require((path, 0))
        assert (features.channels, features.rate_hz, features.seconds) == (channels, 8000, 2.0)

    def test_features_that_have_gone(self, store: Store, source: Source) -> None:
        with pytest.raises(RestemError, match=r"a\.wav: its features have gone"):
            store.require(source)


class TestKey:
    """An entry belongs to what a file is, not to how it is called."""

    def test_spelling_does_not_matter(self, store: Store, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        store.fill([source])
        path = source[0]
        monkeypatch.chdir(path.parent)
        link = path.parent / "link.wav"
        link.symlink_to(path)
        for spelling in (Path("a.wav"), Path("../in/./a.wav"), link):
            assert store.load((spelling, 0)) is not None

    def test_a_dataset_that_was_moved(self, store: Store, source: Source, tmp_path: Path) -> None:
        store.fill([source])
        moved = source[0].parent.rename(tmp_path / "elsewhere") / source[0].name
        assert store.load((moved, 0)) is not None
        with pytest.raises(AudioError, match=r"a\.wav: no such file"):
            store.load(source)

    def test_touched(self, store: Store, source: Source) -> None:
        store.fill([source])
        status = source[0].stat()
        os.utime(source[0], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert store.load(source) is None

    def test_changed(self, store: Store, source: Source) -> None:
        store.fill([source])
        before = store.require(source).power()
        write(source[0], sound(seed=1))
        assert store.load(source) is None
        store.fill([source])
        assert not np.array_equal(store.require(source).power(), before)

    def test_replaced_by_another_file_of_the_same_size_and_time(self, store: Store, source: Source) -> None:
        store.fill([source])
        path, status = source[0], source[0].stat()
        other = path.with_name("other.wav")
        write(other, sound(seed=1))
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert other.stat().st_size == status.st_size
        other.replace(path)
        assert store.load(source) is None

    @pytest.mark.parametrize("change", [{"bands": 32}, {"hop_s": 0.01}, {"low_hz": 50.0}, {"frame_s": 0.03}])
    def test_other_settings(self, store: Store, source: Source, change: dict[str, float]) -> None:
        store.fill([source])
        other = Store(store.folder, MelSettings(**change))  # type: ignore[arg-type]
        assert other.load(source) is None
        other.fill([source])
        assert len(entries(store.folder)) == 2
        assert store.require(source).power().shape[1] == 64

    def test_streams_are_apart(self, store: Store, source: Source) -> None:
        assert store.entry(source) != store.entry((source[0], 1))

    def test_nothing_is_decoded_again(self, store: Store, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        store.fill([source])

        def decoded(*_: object) -> None:
            raise AssertionError("decoded again")

        monkeypatch.setattr(store_module, "open_audio", decoded)
        assert store.fill([source, source]) == {}


class TestDamage:
    def damaged(self, store: Store, source: Source, change: Callable[[bytes], bytes]) -> None:
        """Changes the bytes of an entry: it must count as missing, and be as it was after it is filled again."""
        store.fill([source])
        entry = store.entry(source)
        whole = entry.read_bytes()
        entry.write_bytes(change(whole))
        assert store.load(source) is None
        assert store.fill([source]) == {}
        assert entry.read_bytes() == whole
        assert store.load(source) is not None

    @pytest.mark.parametrize("length", [0, 1, 100, 300, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, -128, -2, -1])
    def test_truncated(self, store: Store, source: Source, length: int) -> None:
        self.damaged(store, source, lambda whole: whole[:length])

    @pytest.mark.parametrize(
        "header",
        [
            bytes(HEADER_BYTES),
            b"\xff" * HEADER_BYTES,
            b"{".ljust(HEADER_BYTES),
            b"{}".ljust(HEADER_BYTES),
            b"[]".ljust(HEADER_BYTES),
            b"null".ljust(HEADER_BYTES),
            b"17".ljust(HEADER_BYTES),
            b'{"frames": null, "seconds": 1.0, "rate_hz": 16000, "channels": 1}'.ljust(HEADER_BYTES),
            b'{"frames": "50", "seconds": 1.0, "rate_hz": 16000, "channels": 1}'.ljust(HEADER_BYTES),
            b'{"frames": -50, "seconds": 1.0, "rate_hz": 16000, "channels": 1}'.ljust(HEADER_BYTES),
            b'{"frames": 50, "seconds": 1.0}'.ljust(HEADER_BYTES),
        ],
    )
    def test_garbage_for_a_header(self, store: Store, source: Source, header: bytes) -> None:
        self.damaged(store, source, lambda whole: header + whole[HEADER_BYTES:])

    def test_folder_in_place_of_an_entry(self, store: Store, source: Source) -> None:
        store.entry(source).mkdir(parents=True)
        for call in (store.load, store.compute):
            with pytest.raises(RestemError, match="another `cache`"):
                call(source)


class TestFailures:
    def bad_sources(self, root: Path) -> dict[str, Source]:
        samples = sound()
        whole = write(root / "whole.wav", samples)[0].read_bytes()
        bad: dict[str, bytes] = {
            "truncated.wav": whole[: len(whole) // 2],
            "empty.wav": b"",
            "text.wav": b"this is no audio at all" * 50,
            "header only.wav": whole[:44],
        }
        for name, content in bad.items():
            (root / name).write_bytes(content)
        for name, value in (("nan.wav", np.nan), ("infinite.wav", np.inf)):
            spoilt = samples.copy()
            # Late, so that rows have been written by then.
            spoilt[0, -5] = value
            write(root / name, spoilt)
        (root / "folder.wav").mkdir()
        soundfile.write(root / "no samples.wav", np.zeros((0, 1)), RATE_HZ)
        names = [*bad, "nan.wav", "infinite.wav", "folder.wav", "no samples.wav", "missing.wav"]
        return {name: (root / name, 0) for name in names}

    @pytest.mark.parametrize("workers", [1, 2])
    def test_every_failure_is_told_and_none_stops_the_others(self, store: Store, tmp_path: Path, workers: int) -> None:
        bad = self.bad_sources(tmp_path)
        good = write(tmp_path / "good.wav", sound(seed=3))
        sources = [*bad.values(), good]
        failures = store.fill(sources, Processes(workers))
        assert sorted(failures) == list(range(len(bad)))
        for index, name in enumerate(bad):
            assert failures[index].startswith(str(tmp_path / name))
            assert len(failures[index].splitlines()) <= 2
            if name not in ("missing.wav", "folder.wav"):
                assert store.load(bad[name]) is None
        assert list(entries(store.folder)) == [str(store.entry(good).relative_to(store.folder))]
        assert [path.name for path in store.folder.rglob("*") if path.is_file()] == [store.entry(good).name]

    def test_progress_counts_up_to_all(self, store: Store, tmp_path: Path) -> None:
        sources = [write(tmp_path / f"{n}.wav", sound(0.1, seed=n)) for n in range(4)]
        store.fill(sources[:1])
        calls: list[tuple[int, int]] = []
        store.fill([*sources, (tmp_path / "missing.wav", 0)], report=lambda *call: calls.append(call))
        assert [total for _, total in calls] == [5] * len(calls)
        done = [done for done, _ in calls]
        assert done == sorted(done) and done[-1] == 5


class TestDisk:
    """A cache that cannot be written is no fault of the audio: the error names the cache and the remedy."""

    def test_read_only(self, store: Store, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Path, *_: object, **__: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

        monkeypatch.setattr(Path, "mkdir", refuse)
        with pytest.raises(RestemError, match=r"cache.*cannot be written \(Read-only file system\).*another `cache`"):
            store.fill([source])

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_full(self, store: Store, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        @contextmanager
        def on_a_full_disk(_: Path) -> Iterator[Path]:
            yield Path("/dev/full")

        monkeypatch.setattr(entries_module, "written_aside", on_a_full_disk)
        with pytest.raises(
            RestemError, match=r"cannot be written \(No space left on device\); choose another `cache`"
        ) as caught:
            store.fill([source])
        assert not isinstance(caught.value, AudioError)

    def test_full_in_the_middle_leaves_nothing(
        self, store: Store, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = 0

        def fail_at_the_second(values: np.ndarray) -> np.ndarray:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return to_bfloat16(values)

        write(source[0], sound(10.0))
        monkeypatch.setattr(store_module, "to_bfloat16", fail_at_the_second)
        with pytest.raises(RestemError, match="No space left on device"):
            store.fill([source])
        assert [path for path in store.folder.rglob("*") if path.is_file()] == []

    def test_cache_that_is_a_file(self, tmp_path: Path, source: Source) -> None:
        (tmp_path / "taken").write_text("")
        with pytest.raises(RestemError, match=r"taken.*another `cache`"):
            Store(tmp_path / "taken").fill([source])


class TestWorkers:
    def test_one_and_two_workers_write_the_same_bytes(self, tmp_path: Path) -> None:
        sources = [write(tmp_path / f"{n}.wav", sound(0.5 + n, channels=1 + n % 2, seed=n)) for n in range(5)]
        for workers in (1, 2):
            assert Store(tmp_path / f"cache{workers}").fill(sources, Processes(workers)) == {}
        one, two = entries(tmp_path / "cache1"), entries(tmp_path / "cache2")
        assert one == two and len(one) == 5

    def test_threads_that_fill_the_same_store_at_once(self, store: Store, tmp_path: Path) -> None:
        source = write(tmp_path / "x.wav", sound(20.0))
        together = threading.Barrier(4)
        errors: list[Exception] = []

        def fill() -> None:
            together.wait()
            try:
                store.compute(source)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=fill) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        found = entries(store.folder)
        store.compute(source)
        assert entries(store.folder) == found and len(found) == 1


FILL = """
import sys
from pathlib import Path
from restem.audio.store import Store

cache, *files = map(Path, sys.argv[1:])
print(Store(cache).fill([(file, 0) for file in files]))
"""

# The process kills itself, as by `kill -9`, at a chosen moment of writing the entries.
KILL = """
import os, pathlib, sys
from restem.audio import store

moment, at = sys.argv.pop(1), int(sys.argv.pop(1))
calls = 0

def killing(function):
    def wrapper(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    return wrapper

if moment == "rows":
    store.to_bfloat16 = killing(store.to_bfloat16)
else:
    pathlib.Path.replace = killing(pathlib.Path.replace)
"""


class TestKill:
    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        return [write(tmp_path / "in" / f"{n}.wav", sound(9.0, seed=n))[0] for n in range(4)]

    # Nine seconds are three blocks and the rest.
    @pytest.mark.parametrize(("moment", "at"), [("rows", 1), ("rows", 3), ("rows", 8), ("rename", 1), ("rename", 3)])
    def test_killed_and_started_again(
        self, tmp_path: Path, files: list[Path], run_python: Callable, moment: str, at: int
    ) -> None:
        expected = Store(tmp_path / "expected")
        expected.fill([(file, 0) for file in files])
        cache = tmp_path / "cache"
        killed = run_python(KILL + FILL, moment, at, cache, *files)
        assert killed.returncode == -9, killed.stderr
        left = entries(cache)
        assert len(left) == ((at - 1) // 4 if moment == "rows" else at - 1)
        assert left.items() <= entries(tmp_path / "expected").items()

        store = Store(cache)
        assert sum(store.load((file, 0)) is not None for file in files) == len(left)
        assert store.fill([(file, 0) for file in files]) == {}
        assert entries(cache) == entries(tmp_path / "expected")

    def test_two_programs_that_fill_the_same_store_at_once(
        self, tmp_path: Path, files: list[Path], start_python: Callable
    ) -> None:
        cache = tmp_path / "cache"
        programs = [start_python("-c", FILL, cache, *files) for _ in range(2)]
        for program in programs:
            output, _ = program.communicate()
            assert program.returncode == 0 and output == "{}\n"
        Store(tmp_path / "expected").fill([(file, 0) for file in files])
        assert entries(cache) == entries(tmp_path / "expected")
        assert len([path for path in cache.rglob("*") if path.is_file()]) == len(files)

    def test_cache_may_be_deleted_at_any_time(self, tmp_path: Path, files: list[Path]) -> None:
        store = Store(tmp_path / "cache")
        store.fill([(files[0], 0)])
        features = store.require((files[0], 0))
        expected = np.array(features.rows)
        shutil.rmtree(store.folder)
        with pytest.raises(RestemError, match="has gone; run the command again"):
            features.power()
        assert store.fill([(files[0], 0)]) == {}
        np.testing.assert_array_equal(store.require((files[0], 0)).rows, expected)


class TestOpenFiles:
    """How many stems there are is not limited by how many files a process may open."""

    def test_none_is_kept_open(self, tmp_path: Path) -> None:
        sources = [write(tmp_path / f"{number}.wav", sound(0.1)) for number in range(8)]
        store = Store(tmp_path / "cache")
        store.fill(sources)
        before = len(list(Path("/proc/self/fd").iterdir()))
        kept = [store.require(source) for source in sources]
        rows = [features.rows for features in kept]
        gather_power(rows, np.arange(8), np.zeros(8, int), 3)
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EIO])
    def test_what_cannot_be_opened_has_not_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        source = write(tmp_path / "x.wav", sound(0.1))
        store = Store(tmp_path / "cache")
        store.fill([source])
        opened, refused = Path.open, store.suffix

        def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.suffix == refused:
                raise OSError(number, os.strerror(number))
            return opened(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(RestemError, match=r"cannot be read \(.*(ulimit|another `cache`)") as caught:
            store.require(source)
        assert os.strerror(number) in str(caught.value)
        # Nor is the stem broken when there are too many to look at it.
        if number != errno.EIO:
            refused = ".wav"
            with pytest.raises(RestemError, match=r"x\.wav: cannot be read \(.*ulimit") as caught:
                store.fill([source])
            assert not isinstance(caught.value, AudioError)


class TestGather:
    def rows(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [to_bfloat16(rng.random((frames, 4)).astype(np.float32) + 0.1) for frames in (10, 3)]

    def test_segments(self) -> None:
        rows = self.rows()
        power = gather_power(rows, np.array([0, 1, 0]), np.array([2, 0, 7]), 3)
        assert power.shape == (3, 3, 4) and power.dtype == np.float32
        for found, (which, first) in zip(power, [(0, 2), (1, 0), (0, 7)], strict=True):
            np.testing.assert_array_equal(found, from_bfloat16(rows[which][first : first + 3]))

    def test_beyond_the_end_is_silence(self) -> None:
        rows = self.rows()
        power = gather_power(rows, np.array([1, 1, 0]), np.array([0, 2, 50]), 5)
        np.testing.assert_array_equal(power[0, :3], from_bfloat16(rows[1]))
        np.testing.assert_array_equal(power[1, :1], from_bfloat16(rows[1][2:]))
        assert (power[0, 3:] == 0).all() and (power[1, 1:] == 0).all() and (power[2] == 0).all()

    def test_no_segments(self) -> None:
        nothing = np.zeros(0, np.int64)
        assert gather_power(self.rows(), nothing, nothing, 5).shape == (0, 5, 4)


# The peak of resident memory. Not getrusage's: that remembers what the parent held when it started this process.
COMPUTE = """
import sys
from pathlib import Path
from restem.audio.store import Store

store, source = Store(Path(sys.argv[1])), (Path(sys.argv[2]), 0)
store.compute(source)
features = store.require(source)
power = features.frame_power()
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024, features.seconds, power.argmax() * store.settings.hop_s)
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


def write_sparse(path: Path, seconds: int, rate_hz: int, channels: int, tone_s: int) -> None:
    """16-bit RF64 (EBU Tech 3306) that is silence but for one second of a tone; holes take no room on the disk."""
    frame_bytes = 2 * channels
    data_bytes = seconds * rate_hz * frame_bytes
    body = b"".join(
        [
            b"WAVE",
            b"ds64" + struct.pack("<IQQQI", 28, 72 + data_bytes, data_bytes, seconds * rate_hz, 0),
            b"fmt " + struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 16),
            b"data\xff\xff\xff\xff",
        ]
    )
    header = b"RF64\xff\xff\xff\xff" + body
    tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + data_bytes)
        file.seek(len(header) + tone_s * rate_hz * frame_bytes)
        file.write(np.repeat(tone[:, None], channels, axis=1).astype("<i2").tobytes())


@needs_proc
class TestMemory:
    def peak_mb(self, path: Path, cache: Path, run_python: Callable, seconds: float, tone_s: float) -> float:
        done = run_python(COMPUTE, cache, path)
        assert done.returncode == 0, done.stderr
        peak_mb, found_seconds, loudest_s = map(float, done.stdout.split())
        assert found_seconds == seconds
        assert tone_s - 0.1 <= loudest_s <= tone_s + 1.0
        return peak_mb

    def test_memory_does_not_grow_with_the_length(self, tmp_path: Path, run_python: Callable) -> None:
        peaks = {}
        for minutes in (5, 20):
            path = tmp_path / f"{minutes}.wav"
            write_sparse(path, 60 * minutes, 48000, 1, tone_s=200)
            peaks[minutes] = self.peak_mb(path, tmp_path / "cache", run_python, 60.0 * minutes, 200)
        # What grows is the reading of the features, up to a fixed number of frames; the samples would be 170 MB more.
        assert peaks[20] < peaks[5] + 40
        assert peaks[20] < 200

    @pytest.mark.slow
    @pytest.mark.timeout(7200)
    def test_two_hours_of_eight_channels_at_96_khz(self, tmp_path: Path, run_python: Callable) -> None:
        path = tmp_path / "long.wav"
        write_sparse(path, 7200, 96000, 8, tone_s=6000)
        assert path.stat().st_size > 11e9
        done = run_python(COMPUTE, tmp_path / "cache", path)
        assert done.returncode == 0, done.stderr
        peak_mb, seconds, loudest_s = map(float, done.stdout.split())
        assert seconds == 7200.0 and 5999.9 <= loudest_s <= 6001.0
        print(f"peak {peak_mb:.0f} MB")
        assert peak_mb < 400
