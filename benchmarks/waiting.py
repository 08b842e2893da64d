"""How long training waits for data: the share of a step of `band_split` that passes before its batch is there.

    python benchmarks/waiting.py

`restem train` with its defaults for a CPU (model `band_split`, 8 examples of 2 s, one thread, batches drawn in the
process that trains), on the same stems as WAV, which is read where it lies, and as Ogg, of which a PCM copy is made
first.
Waiting is drawing the batch, since nothing else draws it meanwhile; a step lasts from one drawing to the next.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import soundfile

from common import parse, publish, song_folders
from restem.dataset.layouts import open_dataset
from restem.separation.remixing import Examples, Remixer
from restem.separation.train import train
from restem.separation.train_settings import TrainSettings

CLASSES = ("vocals", "drums", "bass", "other")
RATE_HZ = 44100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=8, help="songs of four stems, about 20 s each")
    parser.add_argument("--steps", type=int, default=25)
    options = parse(parser, songs=2, steps=6)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        songs = song_folders(options.songs, root, quick=options.quick)
        found = {extension: measure(root, songs, extension, options.steps) for extension in ("wav", "ogg")}
    claims = []
    for extension, figures in found.items():
        claims += [
            (f"{extension}: a step", f"{1000 * figures['step_s']:.0f} ms", ""),
            (f"{extension}: of it waiting for data", f"{figures['share']:.1%}", "< 5 %"),
            ("the same in processor time", f"{figures['share_processor_time']:.1%}", ""),
        ]
    publish("waiting", claims, found, quick=options.quick)


def measure(root: Path, songs: list[Path], extension: str, steps: int) -> dict[str, float]:
    """The seconds of a whole step, and the share of drawing its batch in them: medians over the steps."""
    stems = root / extension
    for number, song in enumerate(songs):
        for name in CLASSES:
            samples, rate_hz = soundfile.read(next(song.glob(f"{name}.*")), dtype="float32", always_2d=True)
            assert rate_hz == RATE_HZ
            path = stems / f"song{number}" / f"{name}.{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            with soundfile.SoundFile(path, "w", rate_hz, 2) as file:
                # libsndfile's Vorbis encoder does not survive long blocks.
                for start in range(0, len(samples), RATE_HZ):
                    block = samples[start : start + RATE_HZ]
                    file.write(np.broadcast_to(block, (len(block), 2)))
    # (step, wall and processor time) when drawing began and ended.
    began: list[tuple[float, float]] = []
    ended: list[tuple[float, float]] = []
    original = Remixer.batch

    def timed(remixer: Remixer, epoch: int, first: int, count: int) -> Examples:
        began.append((time.perf_counter(), time.process_time()))
        examples = original(remixer, epoch, first, count)
        ended.append((time.perf_counter(), time.process_time()))
        return examples

    with patch.object(Remixer, "batch", timed):
        train(
            open_dataset(stems),
            root / f"model-{extension}",
            TrainSettings(steps=steps, validation=0.0),
            cache=root / "cache",
            device="cpu",
        )
    # The first steps warm up.
    drawing, step = np.subtract(ended, began)[3:-1], np.diff(began, axis=0)[3:]
    share, processor_share = np.median(drawing / step, axis=0).tolist()
    return {
        "step_s": round(float(np.median(step[:, 0])), 4),
        "share": round(share, 4),
        "share_processor_time": round(processor_share, 4),
    }


if __name__ == "__main__":
    main()
