"""What `restem export --remove-bleed` makes of planted bleed, and that it makes no stem worse.

    python benchmarks/bleed_removal.py

In every song of the recordings and of the rendered band beside the project, and of generated ones, bleed of -12 to
-40 dB is planted between up to three pairs of stems, instantaneous, delayed or through a room, sometimes in both
directions. The songs are audited, and what the audit found and `debleeding` confirmed is taken out. The SDR of each
stem against the stem without bleed is taken before and after. A stem into which nothing was planted must stay as it is.
Thresholds were chosen on other seeds than those reported.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audit import BLEED_PATHS, RATE_HZ, Song, load_songs, through, write
from common import parse, publish
from restem import audit
from restem.auditing.debleeding import SongBleed, confirmed, without_bleed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[104, 105, 106])
    parser.add_argument("--songs", type=int, default=8, help="songs of each of the three kinds")
    options = parse(parser, seeds=[101], songs=3)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            songs = load_songs(Path(folder), options.songs, seed, options.quick)
            rows += measure(songs, Path(folder) / f"planted{seed}", np.random.default_rng([seed, 2]))
    figures = summarise(rows)
    publish("bleed_removal", claims(figures), figures, quick=options.quick)


def measure(songs: Mapping[str, Song], folder: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A row for each stem: how bleed was planted in it, if at all, whether it was processed, SDR before and after."""
    planted: dict[str, dict[str, str]] = {}
    for name, song in songs.items():
        holed, planted[name] = plant(song, rng)
        write(folder / name, holed)
    found = audit(folder, folder.with_name(f"{folder.name}-audit"), workers=1)
    rows = []
    for name, song in songs.items():
        stems = [f"{name}/{stem}.flac" for stem in song]
        pairs = tuple((row[1], row[2], row[4]) for row in found.bleed.rows() if row[0] == name)
        bleed = SongBleed(tuple((stem, folder / stem, 0) for stem in stems), pairs)
        removals = confirmed(bleed) if pairs else {}
        before = np.stack([read(folder / stem) for stem in stems])
        after = without_bleed(before, stems, removals) if removals else before
        for index, (stem, truth) in enumerate(song.items()):
            rows.append(
                {
                    "song": name, "stem": stem, "planted": planted[name].get(stem, ""),
                    "found": any(pair[0] == stems[index] for pair in pairs), "processed": stems[index] in removals,
                    "before": sdr(truth.T, before[index]), "after": sdr(truth.T, after[index]),
                }
            )  # fmt: skip
    return rows


def plant(song: Song, rng: np.random.Generator) -> tuple[Song, dict[str, str]]:
    """The song with bleed, and for each stem that has some how it got there."""
    names = [name for name, samples in song.items() if np.mean(samples**2) > 1e-6]
    holed, planted = dict(song), dict[str, str]()
    for _ in range(int(rng.integers(1, 4))):
        target, source = (names[index] for index in rng.permutation(len(names))[:2].tolist())
        how, gain = str(rng.choice(BLEED_PATHS)), 10 ** (rng.uniform(-40.0, -12.0) / 20)
        if target in planted:
            continue
        state = rng.integers(2**32)
        heard = [through(channel, how, np.random.default_rng(state)) for channel in song[source].T]
        holed[target] = holed[target] + gain * np.stack(heard, axis=1)
        planted[target] = how
    return holed, planted


def read(path: Path) -> np.ndarray:
    """(channel, sample)"""
    import soundfile

    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate_hz == RATE_HZ
    return np.asarray(samples.T)


def sdr(truth: np.ndarray, estimate: np.ndarray) -> float:
    """In dB; at most 100, about what 24 bits allow."""
    error = np.mean((truth - estimate.astype(np.float64)) ** 2)
    return float(min(100.0, 10 * np.log10(np.mean(truth**2) / max(error, 1e-20)))) if np.any(truth) else 100.0


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def of(part: list[dict[str, Any]]) -> dict[str, Any]:
        if not part:
            return {"stems": 0}
        before, after = (np.array([row[when] for row in part]) for when in ("before", "after"))
        return {
            "stems": len(part),
            "processed": sum(row["processed"] for row in part),
            "before": round(float(np.median(before)), 2),
            "after": round(float(np.median(after)), 2),
            "worse": int(np.sum(after < before - 0.01)),
            "worst_fall": round(float(np.max(before - after)), 2),
        }

    figures: dict[str, Any] = {how: of([row for row in rows if row["planted"] == how]) for how in BLEED_PATHS}
    figures["planted"] = of([row for row in rows if row["planted"]])
    figures["processed"] = of([row for row in rows if row["processed"]])
    figures["without bleed"] = of([row for row in rows if not row["planted"]])
    figures["worse"] = [row for row in rows if row["after"] < row["before"] - 0.01]
    return figures


def claims(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for what in (*BLEED_PATHS, "planted", "processed", "without bleed"):
        one = figures[what]
        if one["stems"]:
            told = f"{one['before']:.1f} to {one['after']:.1f} dB, {one['processed']} of {one['stems']} stems processed"
            rows.append((f"median SDR, {what}", told, ""))
            rows.append((f"stems made worse, {what}", f"{one['worse']} (by {max(0.0, one['worst_fall']):.1f} dB)", "0"))
    return rows


if __name__ == "__main__":
    main()
