"""Taking songs apart: memory by the length of the song, and the same model in restem and in Demucs.

    python benchmarks/separating.py

Memory: `restem separate` on noise of 3 minutes and of 3 hours at 44.1 kHz, each in a process of its own whose largest
resident memory is read, with a small `band_split` of random weights (every sample passes through decoder, network and
writers; how good they are does not matter). Demucs: `apply_model` of the package `demucs` and restem, in turns, with
the same random weights of HDemucs and HTDemucs, segment and overlap, on one thread.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from common import parse, publish, ratio, rounded, time_in_turn
from restem.separation.separator import SeparatorConfig, save_separator
from restem.separation.streaming import separate_blocks

RATE_HZ = 44100
CLASSES = ("vocals", "drums", "bass", "other")
BAND = {"n_fft": 2048, "hop": 1024, "bands": 8, "width": 4, "depth": 1}
# Of Demucs' own networks, a half and a third of their width.
DEMUCS = {"hdemucs": {"channels": 24}, "htdemucs": {"channels": 16, "bottom_channels": 128, "t_layers": 3}}
SEGMENT_S, OVERLAP = 5.0, 0.25

SEPARATE = """
import resource, sys
from restem.separation.songs import separate
summary = separate(sys.argv[1], [sys.argv[2]], sys.argv[3], format="flac", stems=["vocals"], device="cpu")
assert not summary.failed, summary.failed
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs=2, default=(3.0, 180.0), help="of the two songs")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the song that Demucs takes apart, too")
    parser.add_argument("--repeats", type=int, default=7)
    options = parse(parser, minutes=(0.1, 0.2), seconds=6.0, repeats=1)
    claims, figures = compare_memory(*options.minutes)
    for model, parameters in DEMUCS.items():
        more, found = compare_with_demucs(model, parameters, options.seconds, options.repeats)
        claims += more
        figures[model] = found
    publish("separating", claims, figures, quick=options.quick)


def compare_memory(short_min: float, long_min: float) -> tuple[list[tuple[str, str, str]], dict]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        torch.manual_seed(0)
        config = SeparatorConfig("band_split", CLASSES, segment_s=6.0, parameters=BAND)
        save_separator(root / "model", config, config.build().network.state_dict())
        peaks = []
        for minutes in (short_min, long_min):
            song = write_noise(root / f"{minutes:g}.flac", minutes)
            command = [sys.executable, "-c", SEPARATE, str(root / "model"), str(song), str(root / "out")]
            peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            song.unlink()
    grown = peaks[1] / peaks[0]
    return [
        (f"memory for {short_min:g} minutes", f"{peaks[0]:.0f} MiB", ""),
        (f"memory for {long_min:g} minutes", f"{peaks[1]:.0f} MiB", ""),
        ("ratio", f"{grown:.2f}", "<= 1.2"),
    ], {"minutes": [short_min, long_min], "peak_mib": rounded(peaks, 1), "ratio": round(grown, 3)}


def write_noise(path: Path, minutes: float) -> Path:
    """A minute of noise again and again, as 16-bit FLAC."""
    minute = 0.1 * np.random.default_rng(0).standard_normal((60 * RATE_HZ, 2)).astype(np.float32)
    left = round(minutes * 60 * RATE_HZ)
    with soundfile.SoundFile(path, "w", RATE_HZ, 2, subtype="PCM_16") as file:
        while left > 0:
            file.write(minute[:left])
            left -= len(minute)
    return path


def compare_with_demucs(
    model: str, parameters: dict[str, int], seconds: float, repeats: int
) -> tuple[list[tuple[str, str, str]], dict]:
    from demucs.apply import apply_model
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs

    torch.set_num_threads(1)
    torch.manual_seed(0)
    separator = SeparatorConfig(model, CLASSES, segment_s=SEGMENT_S, parameters=parameters).build().eval()
    mixture = 0.1 * torch.randn(2, round(seconds * RATE_HZ))
    blocks = np.split(mixture.numpy(), range(1 << 16, mixture.shape[1], 1 << 16), axis=1)
    network = separator.network
    assert isinstance(network, HDemucs | HTDemucs)
    found: dict[str, np.ndarray] = {}

    def by_demucs() -> None:
        outputs = apply_model(network, mixture[None], shifts=0, overlap=OVERLAP, segment=SEGMENT_S)
        found["demucs"] = outputs[0].numpy()

    def by_restem() -> None:
        found["restem"] = np.concatenate(list(separate_blocks(separator, blocks, overlap=OVERLAP)), axis=2)

    sides = {"demucs": by_demucs, "restem": by_restem}
    times = time_in_turn(sides, repeats).processor
    difference = float(np.abs(found["demucs"] - found["restem"]).max() / max(1.0, np.abs(found["demucs"]).max()))
    slower = ratio(times, "restem", "demucs")
    return [
        (f"{model}, {seconds:g} s: largest difference", f"{difference:.1e}", "<= 1e-4"),
        (f"{model}: restem / demucs, processor time", f"{slower:.2f}", "<= 1"),
    ], {
        "seconds": {name: rounded(values) for name, values in times.items()},
        "difference": difference,
        "restem_of_demucs": round(slower, 3),
    }


if __name__ == "__main__":
    main()
