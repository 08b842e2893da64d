"""Winds: flute, recorder, clarinet, oboe, saxophone, brass, harmonica; solo or as a section."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restem.synth import effects
from restem.synth.lines import comping, humanise, melody
from restem.synth.score import Note, Score
from restem.synth.signals import (
    Array,
    Generator,
    add_at,
    envelope,
    fade_ends,
    frequency_hz,
    harmonic_count,
    log_uniform,
    phase_of,
    read_table,
    smooth_noise,
    wavetable,
)


@dataclass(frozen=True)
class Wind:
    """A wind instrument: lowest pitch, spectral tilt of soft and loud notes, noise, formant, attack, vibrato.

    even: level of the even harmonics (weak in a cylinder closed at one end, such as the clarinet).
    """

    lowest: float
    soft_tilt: float
    loud_tilt: float
    even: float
    noise: float
    formant_hz: float
    attack_s: float
    vibrato: float


WINDS = {
    "flute": Wind(60, 2.4, 1.6, 1.0, 0.08, 900.0, 0.06, 0.2),
    "recorder": Wind(65, 2.8, 2.2, 0.5, 0.04, 1400.0, 0.03, 0.1),
    "clarinet": Wind(50, 2.0, 1.1, 0.15, 0.015, 1500.0, 0.03, 0.05),
    "oboe": Wind(58, 1.2, 0.7, 1.0, 0.01, 1150.0, 0.025, 0.2),
    "saxophone": Wind(46, 1.5, 0.8, 0.9, 0.04, 800.0, 0.03, 0.25),
    "trumpet": Wind(54, 1.8, 0.6, 1.0, 0.01, 1500.0, 0.025, 0.15),
    "trombone": Wind(40, 1.8, 0.7, 1.0, 0.01, 600.0, 0.035, 0.1),
    "horn": Wind(45, 2.2, 1.2, 1.0, 0.01, 450.0, 0.05, 0.05),
    "harmonica": Wind(60, 1.0, 0.5, 1.0, 0.03, 1800.0, 0.03, 0.3),
}


def play_winds(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Note], Array]:
    """Draw a wind instrument or section and a part and render them: the notes, and `(sample,)` or `(2, sample)`."""
    name = str(rng.choice(list(WINDS)))
    wind = WINDS[name]
    low = wind.lowest + float(rng.uniform(0.0, 8.0))
    brass = name in ("trumpet", "trombone", "horn", "saxophone")
    if brass and rng.random() < 0.5:
        kind = str(rng.choice(["stabs", "stabs", "sustained"]))
        groups = comping(
            score,
            active,
            rng,
            kind=kind,
            centre=low + 12.0,
            count=int(rng.integers(2, 5)),
            length=0.8,
        )
        notes = [note for group in groups for note in group]
    else:
        notes = melody(
            score, active, rng, low=low, high=low + 18.0, density=float(rng.uniform(0.2, 0.85)),
            breath=float(rng.uniform(0.5, 1.2)),
        )  # fmt: skip
    notes = humanise(notes, rng, 0.008)
    return notes, render_wind(notes, name, rng, rate_hz, length)


def render_wind(notes: list[Note], name: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Render notes on one of `WINDS`: `(sample,)`."""
    wind = WINDS[name]
    bright = float(rng.uniform(-0.3, 0.3))
    noise_level = wind.noise * log_uniform(rng, 0.3, 3.0)
    attack_s = wind.attack_s * log_uniform(rng, 0.6, 2.0)
    release_s = log_uniform(rng, 0.04, 0.15)
    vibrato_hz, depth = float(rng.uniform(4.0, 6.5)), wind.vibrato * float(rng.uniform(0.0, 2.0))
    radiation_hz = log_uniform(rng, 2500.0, 7000.0)
    growl = float(rng.uniform(0.1, 0.5)) if name == "saxophone" and rng.random() < 0.3 else 0.0
    out = np.zeros(length)
    drift = 0.06 * smooth_noise(rng, length, rate_hz, 3.0)
    for note in notes:
        count = int((note.seconds + release_s) * rate_hz)
        start = int(note.start_s * rate_hz)
        if start >= length:
            continue
        time = np.arange(count) / rate_hz
        shape = envelope(
            count, rate_hz, attack_s=min(attack_s, 0.5 * note.seconds), decay_s=0.15,
            sustain=float(rng.uniform(0.7, 1.0)), held_s=note.seconds, release_s=release_s,
        )  # fmt: skip
        growth = np.clip((time - 0.2) / 0.3, 0.0, 1.0)
        trembling = growth * np.sin(2.0 * np.pi * vibrato_hz * time)
        bend = -float(rng.uniform(0.0, 0.8)) * np.exp(-time / 0.03)
        pitch = note.pitch + np.resize(drift[start:], count) + bend + depth * trembling
        phase = phase_of(frequency_hz(pitch), rate_hz, float(rng.random()))
        base = float(frequency_hz(note.pitch))
        number = np.arange(1, min(64, harmonic_count(1.06 * base, rate_hz, 14000.0)) + 1)
        evens = np.where(number % 2 == 0, wind.even, 1.0) / (1.0 + (number * base / radiation_hz) ** 2)
        soft, loud = (wavetable(evens / number ** max(0.3, tilt + bright)) for tilt in (wind.soft_tilt, wind.loud_tilt))
        # Played louder, the upper harmonics grow faster than the fundamental (Risset 1966).
        push = (shape * note.velocity) ** 1.5
        tone = (1.0 - push) * read_table(soft, phase) + push * read_table(loud, phase)
        if growl:
            tone *= 1.0 + growl * np.sin(2.0 * np.pi * 70.0 * time)
        breath = noise_level * rng.standard_normal(count) * (0.6 + 0.4 * np.cos(2 * np.pi * phase))
        chiff = noise_level * rng.standard_normal(count) * np.exp(-time / 0.03)
        sound = (tone * (1.0 + 0.3 * depth * trembling) + breath) * shape * note.velocity + chiff * note.velocity
        add_at(out, fade_ends(sound, rate_hz), start)
    peaks = [
        (wind.formant_hz * log_uniform(rng, 0.8, 1.25), float(rng.uniform(3, 8)), 1.0),
        (wind.formant_hz * log_uniform(rng, 2.2, 3.5), float(rng.uniform(0, 6)), 1.5),
    ]
    out = effects.body_resonance(out, rate_hz, peaks)
    out = effects.highpass(out, rate_hz, 0.7 * float(frequency_hz(wind.lowest)))
    if name in ("trumpet", "trombone") and rng.random() < 0.2:  # a mute
        out = effects.bandpass(out, rate_hz, 900.0, 2500.0)
    return effects.lowpass(out, rate_hz, log_uniform(rng, 4000.0, 14000.0))
