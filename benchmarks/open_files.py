"""What it costs to keep no file open: reading parts of features by open, read, close, or from memory maps.

    python benchmarks/open_files.py

A batch is what scoring reads: 128 segments of 3 s, each from any of the stems. A memory map is faster, but holds a file
descriptor, of which a process may have 1,024 or only 256.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from common import parse, publish, ratio, rounded, time_in_turn
from restem.audio.entries import HEADER_BYTES
from restem.audio.store import gather_power
from restem.audio.stored import Rows, StoredArray

BANDS = 64
SEGMENT_FRAMES = 150
BATCH = 128
BATCHES = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stems", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=15)
    options = parse(parser, stems=20, seconds=4, repeats=1)
    shape = (50 * options.seconds, BANDS)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.mel" for number in range(options.stems)]
        for path in paths:
            path.write_bytes(bytes(HEADER_BYTES) + rng.integers(0, 1 << 15, shape, np.uint16).tobytes())
        maps = [np.memmap(path, np.uint16, "r", HEADER_BYTES, shape) for path in paths]
        stored = [StoredArray(path, np.uint16, HEADER_BYTES, shape) for path in paths]
        stem = rng.integers(0, len(paths), (BATCHES, BATCH))
        start = rng.integers(0, shape[0] - SEGMENT_FRAMES, (BATCHES, BATCH))

        def read(rows: Sequence[Rows]) -> None:
            for which, first in zip(stem, start, strict=True):
                gather_power(rows, which, first, SEGMENT_FRAMES)

        sides = {"maps": lambda: read(maps), "reads": lambda: read(stored)}
        time_in_turn(sides, 1)
        times = time_in_turn(sides, options.repeats).wall
    milliseconds = {name: 1000 * median(values) / BATCHES for name, values in times.items()}
    slower = ratio(times, "reads", "maps")
    publish(
        "open_files",
        [
            (f"a batch of {BATCH} segments from memory maps", f"{milliseconds['maps']:.2f} ms", ""),
            ("the same by open, read, close", f"{milliseconds['reads']:.2f} ms", ""),
            ("open, read, close / memory maps", f"{slower:.2f} x", "< 3 x"),
        ],
        {
            "stems": options.stems,
            "batch": BATCH,
            "seconds": {name: rounded(values, 5) for name, values in times.items()},
            "reads_of_maps": round(slower, 3),
        },
        quick=options.quick,
    )


if __name__ == "__main__":
    main()
