"""How fast the feature store is: against decoding alone, and with two workers against one.

    python benchmarks/ingest.py

Both sides read the same 16-bit, 44.1 kHz stereo FLAC files, which are in the page cache. "Decoding alone" is
soundfile reading every file as float32, in whichever of two ways is faster. A store is filled from nothing each time,
and two workers include the time it takes to start them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
from joblib.externals.loky import get_reusable_executor

from common import publish, ratio, rounded, song_folders, time_in_turn
from restem.audio.reader import BLOCK_FRAMES
from restem.audio.store import Store
from restem.parallel import map_unordered

CLASSES = ("vocals", "drums", "bass", "other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=24, help="songs of four stems, about 20 s each")
    parser.add_argument("--stem-songs", type=int, default=3, help="how many songs are joined to one longer stem")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = write_flac(Path(folder), options.songs, options.stem_songs)
        compare(files, Path(folder), options.repeats)


def write_flac(folder: Path, songs: int, joined: int) -> list[Path]:
    """16-bit FLAC stems as long as `joined` songs after each other."""
    songs_in = song_folders(songs, folder)
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


def compare(files: list[Path], folder: Path, repeats: int) -> None:
    seconds_of_audio = sum(soundfile.info(path).duration for path in files)
    number = count()

    def fill(workers: int) -> Callable[[], None]:
        def side() -> None:
            # A pool that is left over from the repeat before would start for free.
            get_reusable_executor().shutdown(wait=True)
            failures = Store(folder / f"store{next(number)}").fill([(path, 0) for path in files], workers)
            assert not failures

        return side

    decode_whole(files)
    times = time_in_turn(
        {
            "decode_whole": lambda: decode_whole(files),
            "decode_blocks": lambda: decode_blocks(files),
            "one": fill(1),
            "two": fill(2),
        },
        repeats,
    )
    decode = min(("decode_whole", "decode_blocks"), key=lambda name: median(times[name]))
    of_decoding = 1.0 / ratio(times, "one", decode)
    of_one_worker = ratio(times, "one", "two")
    start_up_s = median(start_workers() for _ in range(3))

    def speed(name: str) -> float:
        return seconds_of_audio / median(times[name])

    publish(
        "ingest",
        [
            ("audio", f"{seconds_of_audio / 60:.1f} min in {len(files)} FLAC files", ""),
            ("decoding alone", f"{speed(decode):,.0f} x real time", ""),
            ("feature store, 1 worker", f"{speed('one'):,.0f} x real time", ""),
            ("feature store, 2 workers", f"{speed('two'):,.0f} x real time", ""),
            ("store, 1 worker / decoding alone", f"{of_decoding:.2f}", ">= 0.5"),
            ("store, 2 workers / 1 worker", f"{of_one_worker:.2f}", ">= 1.7"),
            ("starting 2 workers (in the above)", f"{start_up_s:.2f} s", ""),
        ],
        {
            "audio_minutes": round(seconds_of_audio / 60, 2),
            "files": len(files),
            "seconds": {name: rounded(values) for name, values in times.items()},
            "times_real_time": {name: round(speed(name), 1) for name in times},
            "store_of_decoding": round(of_decoding, 3),
            "two_workers_of_one": round(of_one_worker, 3),
            "start_up_s": round(start_up_s, 3),
        },
    )


def decode_whole(files: list[Path]) -> None:
    for path in files:
        soundfile.read(path, dtype="float32", always_2d=True)


def decode_blocks(files: list[Path]) -> None:
    for path in files:
        with soundfile.SoundFile(path) as file:
            while len(file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                pass


def start_workers() -> float:
    """Seconds until two fresh workers have done nothing."""
    get_reusable_executor().shutdown(wait=True)
    return time_in_turn({"start": lambda: list(map_unordered(abs, [1, 2], 2))}, 1)["start"][0]


if __name__ == "__main__":
    main()
