"""Draws the pictures of docs/audit.md, one of each kind of finding, from generated notes and drums.

python benchmarks/audit_pictures.py
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import firwin, lfilter, stft, welch

from common import HERE, parse
from restem.audio.level import power_to_db
from restem.auditing.findings import KINDS

IMAGES = HERE.parent / "docs" / "images"
RATE_HZ = 32000
INK, MARK, PALE = "#4b46c2", "#c2490f", "#b9b6ea"
WIDTH_IN, ROW_IN, DPI = 7.2, 0.85, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    if parse(parser).quick:
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder))
    else:
        draw(IMAGES)


def draw(folder: Path) -> None:
    """Draws `audit-<kind>.png` for every kind."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    for kind in KINDS:
        rows, painter = PICTURES[kind]
        figure, axes = pyplot.subplots(
            rows,
            1,
            figsize=(WIDTH_IN, max(1.9, ROW_IN * rows + 0.5)),
            layout="constrained",
            sharex=rows > 1,
            squeeze=False,
        )
        painter([axis for (axis,) in axes])
        figure.savefig(folder / f"audit-{kind}.png", dpi=DPI)
        pyplot.close(figure)
        print(folder / f"audit-{kind}.png")


def notes(seed: int, seconds: float = 6.0, low_hz: float = 110.0) -> np.ndarray:
    """(sample,) decaying notes with pauses."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE_HZ))
    start = 0.1
    while start < seconds:
        first = round(start * RATE_HZ)
        time_s = np.arange(min(len(sound) - first, round(0.5 * RATE_HZ))) / RATE_HZ
        pitch_hz = low_hz * 2 ** (rng.integers(0, 24) / 12)
        partials = sum(np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in range(1, 30) if k * pitch_hz < 15000)
        sound[first : first + len(time_s)] += rng.uniform(0.4, 1.0) * np.exp(-7 * time_s) * partials
        start += float(rng.choice([0.2, 0.2, 0.4, 0.9]))
    return 0.25 * sound


def drums(seed: int, seconds: float = 6.0) -> np.ndarray:
    """(sample,) bursts of noise every quarter of a second."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE_HZ))
    time_s = np.arange(round(0.15 * RATE_HZ)) / RATE_HZ
    for first in range(0, len(sound) - len(time_s), RATE_HZ // 4):
        sound[first : first + len(time_s)] += 0.3 * rng.standard_normal(len(time_s)) * np.exp(-35 * time_s)
    return sound


def wave(axis: Any, sound: np.ndarray, name: str, colour: str = INK, start_s: float = 0.0) -> None:
    """Draws a sound over time as the range that it fills."""
    steps = np.array_split(sound, min(len(sound), 900))
    time_s = start_s + np.arange(len(steps)) * len(sound) / RATE_HZ / len(steps)
    axis.fill_between(
        time_s, [part.min() for part in steps], [part.max() for part in steps], color=colour, linewidth=0.6
    )
    axis.set_ylabel(name, rotation=0, ha="right", va="center")
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.margins(x=0)


def line(axis: Any, sound: np.ndarray, name: str, colour: str = INK, start_s: float = 0.0) -> None:
    """Draws a few milliseconds of a sound, sample by sample."""
    axis.plot(1000 * (start_s + np.arange(len(sound)) / RATE_HZ), sound, color=colour, linewidth=1.2, label=name)
    axis.axhline(0, color="#999999", linewidth=0.6)
    axis.margins(x=0)


def legend(axis: Any) -> None:
    """Puts the names of the lines above the picture, where nothing is drawn."""
    axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.98), borderaxespad=0, ncols=3)


def cells(axis: Any, sound: np.ndarray, name: str) -> None:
    """Draws a spectrogram, in few colours, so that the picture is small."""
    frequencies, time_s, spectrum = stft(sound[: 3 * RATE_HZ], RATE_HZ, nperseg=1024)
    level_db = power_to_db(np.abs(spectrum) ** 2)
    top_db = float(level_db.max())
    levels = np.linspace(top_db - 70, top_db, 9)
    axis.contourf(time_s, frequencies / 1000, np.maximum(level_db, top_db - 70), levels, cmap="Purples")
    axis.set_ylim(0, 8)
    axis.set_ylabel(f"{name}\nkHz", rotation=0, ha="right", va="center")


def shared_sound(axes: Sequence[Any], first: str, second: str) -> None:
    original = notes(1)
    copy = np.concatenate([notes(2, 1.5), 0.5 * original[: round(3.5 * RATE_HZ)], notes(3, 1.0)])
    for axis, sound, name, begin in ((axes[0], original, first, 0.0), (axes[1], copy, second, 1.5)):
        wave(axis, sound, name, PALE)
        start = round(begin * RATE_HZ)
        wave(axis, sound[start : start + round(3.5 * RATE_HZ)], name, MARK, begin)
        axis.set_xlim(0, 6)
    axes[-1].set_xlabel("s")


def mixture(axes: Sequence[Any]) -> None:
    bass, vocals, beat = notes(1, low_hz=55.0), notes(5, low_hz=220.0), drums(1)
    for axis, sound, name, colour in (
        (axes[0], bass + vocals + beat, "mixture", INK),
        (axes[1], bass + beat, "sum of the stems", INK),
        (axes[2], vocals, "what is missing", MARK),
    ):
        wave(axis, sound, name, colour)
        axis.set_ylim(-1.2, 1.2)
    axes[-1].set_xlabel("s")


def foreign(axes: Sequence[Any]) -> None:
    cells(axes[0], notes(1), "a stem")
    cells(axes[1], 0.05 * np.random.default_rng(0).standard_normal(3 * RATE_HZ), "noise alone")
    axes[-1].set_xlabel("s")


def misaligned(axes: Sequence[Any]) -> None:
    stem = notes(4)
    lags_ms = np.arange(-40.0, 40.0, 1000 / RATE_HZ)
    mixed = stem + drums(2)
    late = np.concatenate([np.zeros(round(0.012 * RATE_HZ)), stem])[: len(stem)]
    spectrum = np.fft.rfft(late) * np.conj(np.fft.rfft(mixed))
    likeness = np.fft.irfft(spectrum / np.sqrt(np.abs(spectrum) + 1e-9))
    around = np.concatenate([likeness[-len(lags_ms) // 2 :], likeness[: len(lags_ms) // 2]])
    axes[0].plot(lags_ms[: len(around)], around / around.max(), color=INK, linewidth=1)
    axes[0].axvline(12.0, color=MARK, linestyle=":")
    axes[0].annotate("12 ms late", (12.0, 0.9), (14.0, 0.85), color=MARK)
    axes[0].set_xlabel("the stem against the mixture, ms")
    axes[0].set_ylabel("correlation")


def bleed(axes: Sequence[Any]) -> None:
    beat, stem = drums(3), notes(6, low_hz=220.0)
    cells(axes[0], beat, "drums")
    cells(axes[1], stem + 10 ** (-18 / 20) * beat, "vocals, with\ndrums at -18 dB")
    cells(axes[2], stem, "without")
    axes[-1].set_xlabel("s")


def short(axes: Sequence[Any]) -> None:
    sounds = notes(1), drums(1), notes(2, low_hz=55.0), notes(3)[: 4 * RATE_HZ]
    for axis, sound, name in zip(axes, sounds, ("vocals", "drums", "bass", "other"), strict=True):
        wave(axis, sound, name)
    axes[-1].axvspan(4.0, 6.0, color=MARK, alpha=0.25, linewidth=0)
    axes[-1].set_xlabel("s")


def clipped(axes: Sequence[Any]) -> None:
    part = notes(1)[round(0.105 * RATE_HZ) : round(0.125 * RATE_HZ)]
    limit = 0.45 * np.abs(part).max()
    line(axes[0], part, "as it was", PALE)
    line(axes[0], np.clip(part, -limit, limit), "cut off", MARK)
    legend(axes[0])
    axes[0].set_xlabel("ms")


def dead_channel(axes: Sequence[Any]) -> None:
    wave(axes[0], notes(1), "left")
    wave(axes[1], np.zeros(6 * RATE_HZ), "right", MARK)
    axes[1].set_ylim(-0.5, 0.5)
    axes[1].set_xlabel("s")


def out_of_phase(axes: Sequence[Any]) -> None:
    part = notes(1)[round(0.105 * RATE_HZ) : round(0.13 * RATE_HZ)]
    line(axes[0], part, "left")
    line(axes[0], -0.95 * part, "right", PALE)
    line(axes[0], 0.025 * part, "in mono", MARK)
    legend(axes[0])
    axes[0].set_xlabel("ms")


def dc(axes: Sequence[Any]) -> None:
    part = 0.2 * notes(1)[round(0.1 * RATE_HZ) : round(0.16 * RATE_HZ)]
    line(axes[0], part + 0.06, "the stem")
    axes[0].axhline(0.06, color=MARK, linestyle=":", label="its centre")
    legend(axes[0])
    axes[0].set_xlabel("ms")


def spectrum_of(axis: Any, sound: np.ndarray, name: str, colour: str, length: int = 4096) -> None:
    frequencies, power = welch(sound, RATE_HZ, nperseg=length)
    axis.plot(frequencies / 1000, power_to_db(power), color=colour, linewidth=1, label=name)
    axis.margins(x=0)
    axis.set_ylabel("dB")
    axis.set_xlabel("kHz")


def lowpass(axes: Sequence[Any]) -> None:
    sound = notes(1) + 0.003 * np.random.default_rng(0).standard_normal(6 * RATE_HZ)
    spectrum_of(axes[0], sound, "as it was", PALE)
    spectrum_of(axes[0], np.asarray(lfilter(firwin(801, 11000, fs=RATE_HZ), 1.0, sound)), "after lossy coding", INK)
    axes[0].axvline(11.0, color=MARK, linestyle=":")
    axes[0].annotate("11 kHz", (11.0, -60), (11.2, -60), color=MARK)
    legend(axes[0])


def noise(axes: Sequence[Any]) -> None:
    time_s = np.arange(6 * RATE_HZ) / RATE_HZ
    hum = sum(np.sin(2 * np.pi * 50 * k * time_s + k) / k for k in (1, 2, 3, 4, 6))
    sound = notes(1, low_hz=220.0)
    spectrum_of(axes[0], sound + 0.004 * hum, "with hum", MARK, 16384)
    spectrum_of(axes[0], sound, "without", INK, 16384)
    axes[0].set_xlim(0.02, 0.6)
    axes[0].set_ylim(-110, -20)
    legend(axes[0])


PICTURES: dict[str, tuple[int, Callable[[Sequence[Any]], None]]] = {
    "duplicate": (2, lambda axes: shared_sound(axes, "Song 1/bass", "Song 7/bass")),
    "leak": (2, lambda axes: shared_sound(axes, "train: Song 1", "test: Song 7")),
    "mixture": (3, mixture),
    "foreign": (2, foreign),
    "misaligned": (1, misaligned),
    "bleed": (3, bleed),
    "short": (4, short),
    "clipped": (1, clipped),
    "dead_channel": (2, dead_channel),
    "out_of_phase": (1, out_of_phase),
    "dc": (1, dc),
    "lowpass": (1, lowpass),
    "noise": (1, noise),
}


if __name__ == "__main__":
    main()
