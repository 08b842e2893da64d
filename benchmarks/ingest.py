"""How fast the feature store is: against decoding alone, and with two workers against one.

    python benchmarks/ingest.py

Both sides read the same 16-bit, 44.1 kHz stereo FLAC files, which are in the page cache. "Decoding alone" is
soundfile reading every file as float32, in whichever of two ways is faster. A store is filled from nothing each time.
Two workers are timed when they run; what it takes to start them, once a run, is said beside it. Processor time is what
wall time would be on an idle machine: that of a stem in two workers is compared with that in one, since two workers can
be twice as fast as one only if a stem costs them no more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
from joblib.externals.loky import get_reusable_executor

from common import parse, publish, ratio, rounded, song_folders, time_in_turn
from restem.audio.reader import BLOCK_FRAMES
from restem.audio.store import Store
from restem.executing.processes import Processes

CLASSES = ("vocals", "drums", "bass", "other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=40, help="songs of four stems, about 20 s each")
    parser.add_argument("--stem-songs", type=int, default=3, help="how many songs are joined to one longer stem")
    parser.add_argument("--repeats", type=int, default=5)
    options = parse(parser, songs=2, stem_songs=1, repeats=1)
    with tempfile.TemporaryDirectory() as folder:
        songs = song_folders(options.songs, Path(folder), quick=options.quick)
        compare(write_flac(Path(folder), songs, options.stem_songs), Path(folder), options.repeats, options.quick)


def write_flac(folder: Path, songs_in: list[Path], joined: int) -> list[Path]:
    """16-bit FLAC stems as long as `joined` songs after each other."""
    files = []
    for first in range(0, len(songs_in), joined):
        for name in CLASSES:
            path = folder / f"{name}{first:03d}.flac"
            with soundfile.SoundFile(path, "w", 44100, 2, subtype="PCM_16") as file:
                for song in songs_in[first : first + joined]:
                    samples, rate_hz = soundfile.read(next(song.glob(f"{name}.*")), dtype="float32", always_2d=True)
                    assert rate_hz == 44100
                    file.write(np.broadcast_to(samples, (len(samples), 2)))
            files.append(path)
    return files


def compare(files: list[Path], folder: Path, repeats: int, quick: bool) -> None:
    seconds_of_audio = sum(soundfile.info(path).duration for path in files)
    number = count()

    def fill(workers: int, cold: bool = False) -> Callable[[], None]:
        def side() -> None:
            if cold:
                get_reusable_executor().shutdown(wait=True)
            failures = Store(folder / f"store{next(number)}").fill([(path, 0) for path in files], Processes(workers))
            assert not failures

        return side

    def each(workers: int) -> Callable[[], None]:
        def side() -> None:
            store = Store(folder / f"store{next(number)}")
            found = Processes(workers).map_unordered(partial(processor_s, store), files)
            costs[workers].append(sum(seconds for _, seconds in found))

        return side

    costs: dict[int, list[float]] = {1: [], 2: []}
    decode_whole(files)
    each(2)()  # what a worker does once is not counted
    costs[2].clear()
    times = time_in_turn(
        {
            "decode_whole": lambda: decode_whole(files),
            "decode_blocks": lambda: decode_blocks(files),
            "one": fill(1),
            "two_from_cold": fill(2, cold=True),
            "two": fill(2),
            "each_of_one": each(1),
            "each_of_two": each(2),
        },
        repeats,
    )
    wall = times.wall
    decode = min(("decode_whole", "decode_blocks"), key=lambda name: median(wall[name]))
    of_decoding = 1.0 / ratio(wall, "one", decode)
    of_decoding_processor = 1.0 / ratio(times.processor, "one", decode)
    of_one_worker = ratio(wall, "one", "two")
    cost = median(two / one for one, two in zip(costs[1], costs[2], strict=True))
    start_s = median(cold - warm for cold, warm in zip(wall["two_from_cold"], wall["two"], strict=True))

    def speed(name: str) -> float:
        return seconds_of_audio / median(wall[name])

    publish(
        "ingest",
        [
            ("audio", f"{seconds_of_audio / 60:.1f} min in {len(files)} FLAC files", ""),
            ("decoding alone", f"{speed(decode):,.0f} x real time", ""),
            ("feature store, 1 worker", f"{speed('one'):,.0f} x real time", ""),
            ("feature store, 2 workers", f"{speed('two'):,.0f} x real time", ""),
            ("store, 1 worker / decoding alone", f"{of_decoding:.2f}", ">= 0.7"),
            ("the same in processor time", f"{of_decoding_processor:.2f}", ""),
            ("store, 2 workers / 1 worker", f"{of_one_worker:.2f}", ">= 1.8"),
            ("the same from processor time a stem", f"{2.0 / cost:.2f}", ">= 1.8"),
            ("starting 2 workers, once a run", f"{start_s:.1f} s", ""),
        ],
        {
            "audio_minutes": round(seconds_of_audio / 60, 2),
            "files": len(files),
            "seconds": {name: rounded(values) for name, values in wall.items()},
            "times_real_time": {name: round(speed(name), 1) for name in wall},
            "store_of_decoding": round(of_decoding, 3),
            "store_of_decoding_processor_time": round(of_decoding_processor, 3),
            "two_workers_of_one": round(of_one_worker, 3),
            "processor_seconds": {f"workers_{workers}": rounded(values) for workers, values in costs.items()},
            "two_workers_of_one_processor_time": round(2.0 / cost, 3),
            "start_s": round(start_s, 2),
        },
        quick=quick,
    )


def processor_s(store: Store, path: Path) -> float:
    """The processor time of computing one entry, in whichever process."""
    start = time.process_time()
    store.compute((path, 0))
    return time.process_time() - start


def decode_whole(files: list[Path]) -> None:
    for path in files:
        soundfile.read(path, dtype="float32", always_2d=True)


def decode_blocks(files: list[Path]) -> None:
    for path in files:
        with soundfile.SoundFile(path) as file:
            while len(file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                pass


if __name__ == "__main__":
    main()
