"""Keyboards and mallets: pianos, clavinet, organ, harpsichord; vibraphone, marimba and similar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from restem.synth import effects
from restem.synth.lines import bass_line, comping, humanise, melody
from restem.synth.score import Note, Score
from restem.synth.signals import (
    Array,
    Generator,
    add_at,
    damped_partials,
    envelope,
    fade_ends,
    frequency_hz,
    log_uniform,
    read_table,
    wavetable,
)

PIANOS = (
    "grand",
    "upright",
    "felt",
    "electric",
    "electric",
    "clavinet",
    "organ",
    "organ",
    "harpsichord",
)
MALLETS = ("vibraphone", "marimba", "glockenspiel", "kalimba", "music box", "steel drum")


def play_piano(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Note], Array]:
    """Draw a keyboard and a part for both hands and render them: the notes, and `(sample,)` or `(2, sample)`."""
    sound = str(rng.choice(PIANOS))
    kinds = ["sustained", "stabs", "quarters", "offbeats", "arpeggio", "broken", "strum"]
    if sound == "organ":
        kinds = ["sustained", "sustained", "stabs", "offbeats"]
    centre = float(rng.uniform(54, 72))
    groups = comping(
        score, active, rng, kind=str(rng.choice(kinds)), centre=centre,
        count=int(rng.integers(3, 5)), length=float(rng.uniform(0.5, 1.2)),
    )  # fmt: skip
    notes = [note for group in groups for note in group]
    hands = rng.random()
    if hands < 0.45:  # a left hand in the register of the bass
        lowest = int(rng.choice([28, 33, 36, 40]))
        kind = str(rng.choice(["root", "root fifth", "octaves", "pump", "arpeggio"]))
        notes += bass_line(score, active, rng, kind=kind, lowest=lowest)
    elif hands < 0.7:
        low = float(rng.uniform(62, 74))
        notes += melody(score, active, rng, low=low, high=low + 17, density=float(rng.uniform(0.3, 0.8)))
    notes = sorted(humanise(notes, rng, 0.006), key=lambda note: note.start_s)
    return notes, render_keyboard(notes, sound, rng, rate_hz, length)


def play_mallets(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Note], Array]:
    """Draw a mallet instrument and a line or pattern and render them: the notes, and `(sample,)`."""
    sound = str(rng.choice(MALLETS))
    low = {"marimba": 48.0, "glockenspiel": 76.0, "music box": 72.0}.get(sound, 57.0)
    low += float(rng.uniform(0.0, 6.0))
    if rng.random() < 0.5:
        notes = melody(score, active, rng, low=low, high=low + 19, density=float(rng.uniform(0.4, 0.9)))
    else:
        groups = comping(score, active, rng, kind="arpeggio", centre=low + 9.0, count=4)
        notes = [note for group in groups for note in group]
    notes = humanise(notes, rng, 0.006)
    return notes, _mallet(notes, sound, rng, rate_hz, length)


def render_keyboard(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Render notes on a keyboard of one of `PIANOS`: `(sample,)` or `(2, sample)`."""
    if sound == "organ":
        return _organ(notes, rng, rate_hz, length)
    if sound == "electric":
        return _electric_piano(notes, rng, rate_hz, length)
    return _struck_strings(notes, sound, rng, rate_hz, length)


def _play_once_made(
    notes: list[Note],
    rate_hz: int,
    length: int,
    release_s: float,
    make: Callable[[float, int], Array],
    ring_s: float,
) -> Array:
    """Place notes whose sound is rendered once per pitch and strength, by `make(pitch, strength)`."""
    out = np.zeros(length, dtype=np.float32)
    made: dict[tuple[float, int], Array] = {}
    for note in notes:
        strength = int(note.velocity > 0.75)
        key = (note.pitch, strength)
        if key not in made:
            made[key] = np.asarray(make(note.pitch, strength), dtype=np.float32)
        count = int(min(note.seconds + release_s, ring_s) * rate_hz)
        tone = made[key][:count]
        shape = envelope(
            len(tone), rate_hz, attack_s=0.0005, decay_s=1.0, sustain=1.0, held_s=note.seconds,
            release_s=release_s,
        ).astype(np.float32)  # fmt: skip
        add_at(
            out,
            fade_ends(tone * shape, rate_hz) * np.float32(note.velocity),
            int(note.start_s * rate_hz),
        )
    return out


def _struck_strings(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Piano, clavinet and harpsichord: stiff strings, two per note, slightly detuned.

    Partials of a stiff string lie at `n f sqrt(1 + B n^2)` (Fletcher 1964); a string struck at `1/8` of
    its length lacks every eighth partial.
    """
    plucked = sound in ("harpsichord", "clavinet")
    tilt = {
        "grand": rng.uniform(0.9, 1.5), "upright": rng.uniform(1.0, 1.6),
        "felt": rng.uniform(1.8, 2.6),
    }.get(sound, rng.uniform(0.3, 0.9))  # fmt: skip
    decay_s = log_uniform(rng, 3.0, 12.0) if not plucked else log_uniform(rng, 1.5, 4.0)
    stiffness = log_uniform(rng, 1e-4, 6e-4)
    apart_cents = float(rng.uniform(0.3, 2.0)) if sound != "upright" else float(rng.uniform(1.0, 8.0))
    strike = float(rng.uniform(0.08, 0.16))
    hammer = float(rng.uniform(0.0, 0.15))
    ring_s = 2.5
    count = int(ring_s * rate_hz)

    def make(pitch: float, strength: int) -> Array:
        base = float(frequency_hz(pitch))
        number = np.arange(1, int(np.clip(11000.0 / base, 4, 60)) + 1)
        frequencies = base * number * np.sqrt(1.0 + stiffness * number**2)
        amplitudes = np.abs(np.sin(np.pi * number * strike)) / number ** (tilt - 0.25 * strength)
        amplitudes /= 1.0 + (frequencies / 5000.0) ** 2
        decays = decay_s * (261.0 / base) ** 0.4 / (1.0 + 0.25 * number)
        pair = 2.0 ** (apart_cents / 1200.0)
        tone = damped_partials(
            np.concatenate((frequencies, frequencies * pair)),
            np.concatenate((decays, 1.6 * decays)),
            np.concatenate((amplitudes, 0.6 * amplitudes)), count, rate_hz,
        )  # fmt: skip
        tone = tone / (np.abs(tone).max() + 1e-9)
        knock = rng.standard_normal(int(0.03 * rate_hz)) * np.linspace(1.0, 0.0, int(0.03 * rate_hz)) ** 3
        tone[: len(knock)] += hammer * effects.lowpass(knock, rate_hz, 1200.0)
        return np.asarray(tone)

    release_s = log_uniform(rng, 0.08, 0.4)
    out = _play_once_made(notes, rate_hz, length, release_s, make, ring_s)
    if sound == "clavinet":
        out = effects.bandpass(out, rate_hz, 150.0, 4500.0)
        out = effects.drive(out, log_uniform(rng, 0.5, 4.0))
    elif sound == "felt":
        out = effects.lowpass(out, rate_hz, log_uniform(rng, 1200.0, 4000.0))
    elif rng.random() < 0.5:
        return effects.chorus(out, rate_hz, rng, 0.25)  # the width of a stereo recording
    return out


def _electric_piano(notes: list[Note], rng: Generator, rate_hz: int, length: int) -> Array:
    """A tine or reed with a bell-like attack, distorted by its pickup, and tremolo."""
    decay_s = log_uniform(rng, 1.5, 6.0)
    bell_ratio = float(rng.choice([6.27, 7.1, 4.0, 14.0]))
    bell = float(rng.uniform(0.03, 0.35))
    overtone = float(rng.uniform(0.05, 0.5))
    count = int(2.5 * rate_hz)

    def make(pitch: float, strength: int) -> Array:
        base = float(frequency_hz(pitch))
        ratios = np.array([1.0, 2.0, 3.0, 4.0, bell_ratio])
        levels = np.array([1.0, overtone, 0.5 * overtone, 0.3 * overtone, bell * (1 + strength)])
        falls = decay_s * (261.0 / base) ** 0.3 * np.array([1.0, 0.6, 0.4, 0.3, 0.08])
        return damped_partials(base * ratios, falls, levels, count, rate_hz)

    out = _play_once_made(notes, rate_hz, length, log_uniform(rng, 0.05, 0.3), make, 2.5)
    out = effects.drive(out, log_uniform(rng, 0.3, 4.0), float(rng.uniform(0.0, 0.5)))
    out = effects.highpass(out, rate_hz, 50.0)
    if rng.random() < 0.5:
        return effects.tremolo(
            effects.pan(out, 0.0),
            rate_hz,
            speed_hz=float(rng.uniform(3.0, 7.0)),
            depth=float(rng.uniform(0.2, 0.8)),
        )
    return effects.chorus(out, rate_hz, rng) if rng.random() < 0.4 else out


def _organ(notes: list[Note], rng: Generator, rate_hz: int, length: int) -> Array:
    """A drawbar organ with key click and rotary speaker."""
    # Drawbars 16', 5 1/3', 8', 4', 2 2/3', 2', 1 3/5', 1 1/3', 1' as harmonics of the 16' tone.
    drawbars = np.array([1, 3, 2, 4, 6, 8, 10, 12, 16])
    levels = rng.integers(0, 9, 9) / 8.0
    levels[[0, 2]] = np.maximum(levels[[0, 2]], rng.choice([0.3, 1.0], 2))
    if rng.random() < 0.3:  # a pipe or combo organ
        drawbars, levels = np.arange(1, 17), rng.uniform(0.0, 1.0, 16) / np.arange(1, 17) ** 0.6
        levels[0] *= 0.3
    amplitudes = np.zeros(16)
    amplitudes[drawbars - 1] = levels
    table = wavetable(amplitudes).astype(np.float32)
    click = float(rng.uniform(0.0, 0.15))
    attack_s = log_uniform(rng, 0.003, 0.05)
    out = np.zeros(length, dtype=np.float32)
    for note in notes:
        count = int((note.seconds + 0.05) * rate_hz)
        step = float(frequency_hz(note.pitch)) / 2.0 / rate_hz
        phase = float(rng.random()) + step * np.arange(count)
        shape = envelope(
            count,
            rate_hz,
            attack_s=attack_s,
            decay_s=1.0,
            sustain=1.0,
            held_s=note.seconds,
            release_s=0.05,
        )
        tone = read_table(table, phase) * shape
        burst = int(0.006 * rate_hz)
        tone[:burst] += click * rng.standard_normal(burst)[: len(tone)]
        add_at(out, fade_ends(tone.astype(np.float32), rate_hz), int(note.start_s * rate_hz))
    if rng.random() < 0.5:
        out = effects.drive(out, log_uniform(rng, 0.5, 6.0))
    if rng.random() < 0.65:
        speed_hz = float(rng.choice([0.8, 6.5])) * float(rng.uniform(0.85, 1.15))
        depth_s = 0.0006 if speed_hz < 3 else 0.00025
        sides = [
            effects.modulated_delay(out, rate_hz, base_s=0.003, depth_s=depth_s, speed_hz=speed_hz, phase=0.4 * side)
            for side in range(2)
        ]
        return effects.tremolo(np.stack(sides), rate_hz, speed_hz=speed_hz, depth=0.3)
    return effects.lowpass(out, rate_hz, log_uniform(rng, 2500.0, 9000.0))


# Frequencies and decay times of the partials, relative to the fundamental.
_BARS = {
    "vibraphone": ((1.0, 3.98, 9.9), (1.0, 0.3, 0.1)),
    "marimba": ((1.0, 3.93, 9.6), (1.0, 0.4, 0.15)),
    "glockenspiel": ((1.0, 2.76, 5.4, 8.9), (1.0, 0.6, 0.4, 0.2)),
    "kalimba": ((1.0, 5.4, 6.3, 12.0), (1.0, 0.15, 0.1, 0.05)),
    "music box": ((1.0, 2.0, 4.2, 6.3), (1.0, 0.7, 0.4, 0.2)),
    "steel drum": ((1.0, 2.0, 3.0, 4.05, 5.2), (1.0, 0.9, 0.6, 0.4, 0.3)),
}


def _mallet(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    ratios, falls = (np.array(values) for values in _BARS[sound])
    decay_s = {
        "vibraphone": log_uniform(rng, 2.0, 6.0), "marimba": log_uniform(rng, 0.4, 1.2),
        "kalimba": log_uniform(rng, 0.6, 1.5),
    }.get(sound, log_uniform(rng, 0.8, 3.0))  # fmt: skip
    hardness = float(rng.uniform(0.05, 0.6))
    levels = hardness ** np.arange(len(ratios)) * rng.uniform(0.6, 1.2, len(ratios))
    # A harder stroke brings out the upper partials.
    hard = np.array([np.ones(len(ratios)), 1.0 + 0.5 * np.minimum(np.arange(len(ratios)), 2)])
    knock_level = float(rng.uniform(0.0, 0.2))
    count = int(2.5 * rate_hz)

    def make(pitch: float, strength: int) -> Array:
        base = float(frequency_hz(pitch))
        fall_s = decay_s * (440.0 / base) ** 0.5
        tone = damped_partials(base * ratios, fall_s * falls, levels * hard[strength], count, rate_hz)
        knock = rng.standard_normal(int(0.008 * rate_hz)) * np.linspace(1, 0, int(0.008 * rate_hz)) ** 2
        tone[: len(knock)] += knock_level * knock
        return tone

    damp_s = log_uniform(rng, 0.2, 2.0)
    out = _play_once_made(notes, rate_hz, length, damp_s, make, 2.5)
    if sound == "vibraphone" and rng.random() < 0.6:
        out = effects.tremolo(out, rate_hz, speed_hz=float(rng.uniform(3.0, 7.0)), depth=0.5)
    return out
