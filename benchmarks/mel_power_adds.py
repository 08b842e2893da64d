"""The error of "mel power adds": the mel power of a mixture against the sum of its stems' mel powers, in dB.

    python benchmarks/mel_power_adds.py

The identity is exact for uncorrelated sounds in the mean; in one frame and band the cross terms

    error = 10 log10( |X1 + ... + Xn|^2 / (|X1|^2 + ... + |Xn|^2) )

remain, which are large only where two stems are about equally strong in the same band. Everything is taken over what
can be heard: cells (frame x band) within 40 dB of the strongest band of their frame, in frames within 60 dB of the
loudest frame of the song. Stems are first brought to the same active power, as the mixer does before it draws levels.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from common import DATA, parse, publish, song_folders
from restem.audio.level import active_frames, power_to_db
from restem.audio.mel import MelSettings, mel_power
from restem.audio.reader import open_audio
from restem.audio.store import from_bfloat16, to_bfloat16

CELL_RANGE_DB = 40.0
FRAME_RANGE_DB = 60.0
CONTESTED_SHARE = 0.75  # a cell is contested when its strongest stem holds less than this share of its power
SEGMENT_FRAMES = 150  # 3 s, what the classifier sees at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=28)
    options = parse(parser, songs=2)
    with tempfile.TemporaryDirectory() as aside:
        takes = [] if options.quick else sorted((DATA / "takes" / "clean").glob("*"))
        real = [folder for folder in takes if folder.is_dir()][: options.songs]
        folders = real or song_folders(options.songs, Path(aside), quick=options.quick)
        audio = "real recordings" if real else "a generated band"
        measure(folders, audio, options.quick)


def measure(folders: list[Path], audio: str, quick: bool) -> None:
    errors: dict[str, list[np.ndarray]] = {"cell": [], "contested": [], "frame": [], "segment": [], "rounding": []}
    for folder in folders:
        for name, values in song_errors(load_stems(folder)).items():
            errors[name].append(values)
    figures = {name: describe(np.concatenate(values)) for name, values in errors.items()}

    share = figures["contested"]["values"] / figures["cell"]["values"]

    def line(name: str) -> str:
        one = figures[name]
        return f"{one['median_db']:.2f} dB, {one['p95_db']:.2f} dB, {one['bias_db']:+.3f} dB"

    publish(
        "mel_power_adds",
        [
            (f"{len(folders)} songs of {audio}", "median, 95 %, bias", ""),
            ("one frame, one band", line("cell"), "stated"),
            (f"the same, contested cells ({share:.0%} of them)", line("contested"), "stated"),
            ("one frame, all bands", line("frame"), "stated"),
            ("3 s, one band", line("segment"), "stated"),
            ("bfloat16 rows of the store", line("rounding"), ""),
        ],
        {"audio": audio, "songs": len(folders), **figures},
        quick=quick,
    )


def load_stems(folder: Path) -> list[np.ndarray]:
    """The stems of one song, (channel, sample), all of one length and of active power 1."""
    stems = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".ogg", ".flac", ".wav")):
        with open_audio(path) as audio:
            assert audio.info.rate_hz == 44100
            samples = audio.read()
        frame_power = mel(samples).sum(axis=1)
        power = frame_power[active_frames(frame_power)]
        if len(power):
            stems.append(samples / np.sqrt(power.mean()))
    length = min(samples.shape[1] for samples in stems)
    return [samples[:, :length] for samples in stems]


def mel(samples: np.ndarray) -> np.ndarray:
    return np.concatenate(list(mel_power([samples], 44100, MelSettings())))


def song_errors(stems: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Errors in dB of what can be heard of a song: of cells, contested cells, frames, segment bands, and rounding."""
    powers = [mel(samples) for samples in stems]
    mixture = mel(np.asarray(np.sum(stems, axis=0, dtype=np.float64), np.float32))
    total = np.sum(powers, axis=0)
    frame = total.sum(axis=1)
    heard_frames = frame > frame.max() * 10 ** (-FRAME_RANGE_DB / 10)
    heard = heard_frames[:, None] & (total > total.max(axis=1, keepdims=True) * 10 ** (-CELL_RANGE_DB / 10))
    whole = len(total) // SEGMENT_FRAMES * SEGMENT_FRAMES
    mixture_s, total_s = (x[:whole].reshape(-1, SEGMENT_FRAMES, x.shape[1]).sum(axis=1) for x in (mixture, total))
    heard_s = total_s > total_s.max(axis=1, keepdims=True) * 10 ** (-CELL_RANGE_DB / 10)
    contested = np.max(powers, axis=0) < CONTESTED_SHARE * total
    rounded = np.sum([from_bfloat16(to_bfloat16(power)) for power in powers], axis=0)
    return {
        "cell": error_db(mixture, total)[heard],
        "contested": error_db(mixture, total)[heard & contested],
        "frame": error_db(mixture.sum(axis=1), frame)[heard_frames],
        "segment": error_db(mixture_s, total_s)[heard_s],
        "rounding": error_db(rounded, total)[heard],
    }


def error_db(mixture: np.ndarray, total: np.ndarray) -> np.ndarray:
    return power_to_db(mixture) - power_to_db(total)


def describe(error: np.ndarray) -> dict[str, float]:
    """Median and 95 % of the absolute error, and the bias: the error of the mean power ratio, in dB."""
    absolute = np.abs(error)
    return {
        "values": len(error),
        "median_db": round(float(np.median(absolute)), 4),
        "p95_db": round(float(np.quantile(absolute, 0.95)), 4),
        "bias_db": round(float(power_to_db(float(np.mean(10 ** (error / 10))))), 4),
    }


if __name__ == "__main__":
    main()
