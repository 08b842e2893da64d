"""Bowed strings: sections, solo violin, viola and cello, pizzicato and staccato."""

from __future__ import annotations

import numpy as np

from restem.synth import effects
from restem.synth.lines import comping, humanise, melody
from restem.synth.score import Note, Score
from restem.synth.signals import (
    Array,
    Generator,
    add_at,
    ensemble_table,
    envelope,
    fade_ends,
    frequency_hz,
    harmonic_count,
    log_uniform,
    phase_of,
    plucked_string,
    read_table,
    smooth_noise,
    wavetable,
)

SOUNDS = ("section", "section", "solo", "pizzicato", "staccato", "tremolo")


def play_strings(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Note], Array]:
    """Draw a string sound and a part and render them: the notes, and `(sample,)` or `(2, sample)`."""
    sound = str(rng.choice(SOUNDS))
    if sound == "solo":
        low = float(rng.choice([36.0, 48.0, 55.0, 62.0])) + float(rng.uniform(0, 4))
        notes = melody(score, active, rng, low=low, high=low + 19, density=float(rng.uniform(0.1, 0.6)))
    else:
        kind = "sustained"
        if sound in ("pizzicato", "staccato"):
            kind = str(rng.choice(["stabs", "quarters", "arpeggio", "broken", "strum"]))
        count = int(rng.integers(3, 6))
        centre = float(rng.uniform(50, 70))
        groups = comping(score, active, rng, kind=kind, centre=centre, count=count, length=1.0)
        notes = [note for group in groups for note in group]
        if sound == "section" and rng.random() < 0.4:
            notes += melody(score, active, rng, low=centre + 8, high=centre + 26, density=0.25)
    notes = sorted(humanise(notes, rng, 0.01), key=lambda note: note.start_s)
    return notes, render_strings(notes, sound, rng, rate_hz, length)


def render_strings(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Render notes on bowed strings of one of `SOUNDS`: `(sample,)` or `(2, sample)`."""
    if sound == "pizzicato":
        return _body(_pizzicato(notes, rng, rate_hz, length), rate_hz, rng)
    if sound == "solo":
        return _body(_bowed(notes, rng, rate_hz, length), rate_hz, rng)
    sides = _section(notes, sound, rng, rate_hz, length)
    return _body(sides, rate_hz, rng)


def _body(sound: Array, rate_hz: int, rng: Generator) -> Array:
    """The body of a violin or cello: a few strong resonances, and the bridge hill near 2.5 kHz."""
    size = log_uniform(rng, 0.5, 1.1)
    peaks = [
        (280.0 * size, float(rng.uniform(1, 6)), 4.0),
        (460.0 * size, float(rng.uniform(1, 6)), 4.0),
        (log_uniform(rng, 700, 1300), float(rng.uniform(-5, 2)), 2.0),
        (log_uniform(rng, 2000, 3200), float(rng.uniform(1, 8)), 1.2),
    ]
    sound = effects.body_resonance(sound, rate_hz, peaks)
    return effects.lowpass(sound, rate_hz, log_uniform(rng, 3000.0, 14000.0))


def _bow_amplitudes(base: float, tilt: float, rate_hz: int) -> Array:
    number = np.arange(1, min(100, harmonic_count(base, rate_hz, 14000.0)) + 1)
    return 1.0 / number**tilt / (1.0 + (number * base / 6000.0) ** 2)


def _section(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """A string section: one `ensemble_table` per pitch and side."""
    tilt = float(rng.uniform(0.9, 1.6))
    spread_cents = log_uniform(rng, 8.0, 35.0)
    attack_s = log_uniform(rng, 0.04, 0.45) if sound != "staccato" else log_uniform(rng, 0.01, 0.04)
    release_s = log_uniform(rng, 0.1, 0.7) if sound != "staccato" else 0.1
    shake_hz = float(rng.uniform(9.0, 13.0))
    loops: dict[float, list[Array]] = {}
    out = np.zeros((2, length), dtype=np.float32)
    loop_s = 3.0
    for note in notes:
        if note.pitch not in loops:
            base = float(frequency_hz(note.pitch))
            loops[note.pitch] = [
                ensemble_table(
                    base, _bow_amplitudes(base, tilt, rate_hz), rate_hz, rng,
                    spread_cents=spread_cents, seconds=loop_s,
                ).astype(np.float32)
                for _ in range(2)
            ]  # fmt: skip
        held_s = note.seconds if sound != "staccato" else min(0.15, note.seconds)
        count = int((held_s + release_s) * rate_hz)
        shape = note.velocity * envelope(
            count, rate_hz, attack_s=min(attack_s, 0.6 * held_s), decay_s=1.0, sustain=0.9,
            held_s=held_s, release_s=release_s,
        )  # fmt: skip
        if sound == "tremolo":
            time = np.arange(count) / rate_hz
            shape *= 0.6 + 0.4 * np.sin(2.0 * np.pi * shake_hz * time + rng.uniform(0, 6))
        offset = int(rng.integers(0, len(loops[note.pitch][0])))
        shape = fade_ends(shape.astype(np.float32), rate_hz)
        for side, loop in enumerate(loops[note.pitch]):
            tone = np.take(loop, np.arange(offset, offset + count), mode="wrap")
            add_at(out[side], tone * shape, int(note.start_s * rate_hz))
    return out


def _bowed(notes: list[Note], rng: Generator, rate_hz: int, length: int) -> Array:
    """A solo player: the sawtooth-like (Helmholtz) motion of a bowed string, vibrato, bow noise."""
    tilt = float(rng.uniform(0.9, 1.5))
    vibrato_hz, depth = float(rng.uniform(4.5, 6.5)), log_uniform(rng, 0.08, 0.5)
    attack_s, release_s = log_uniform(rng, 0.03, 0.2), log_uniform(rng, 0.05, 0.25)
    rosin = log_uniform(rng, 0.005, 0.05)
    drift = 0.08 * smooth_noise(rng, length, rate_hz, 4.0)
    out = np.zeros(length)
    for note in notes:
        count = int((note.seconds + release_s) * rate_hz)
        time = np.arange(count) / rate_hz
        start = int(note.start_s * rate_hz)
        if start >= length:
            continue
        wander = np.resize(drift[start:], count)
        growth = np.clip((time - 0.15) / 0.3, 0.0, 1.0)
        slide = -float(rng.uniform(0.0, 1.0)) * np.exp(-time / 0.04)
        pitch = note.pitch + wander + slide + depth * growth * np.sin(2 * np.pi * vibrato_hz * time)
        base = float(frequency_hz(note.pitch + 1.0))
        table = wavetable(_bow_amplitudes(base, tilt - 0.3 * note.velocity, rate_hz))
        tone = read_table(table, phase_of(frequency_hz(pitch), rate_hz, float(rng.random())))
        shape = envelope(
            count, rate_hz, attack_s=min(attack_s, 0.5 * note.seconds), decay_s=1.0, sustain=0.85,
            held_s=note.seconds, release_s=release_s,
        )  # fmt: skip
        tone = tone * (1.0 + rosin * rng.standard_normal(count)) + rosin * rng.standard_normal(count)
        add_at(out, fade_ends(tone * shape, rate_hz) * note.velocity, start)
    return out


def _pizzicato(notes: list[Note], rng: Generator, rate_hz: int, length: int) -> Array:
    decay_s, brightness = log_uniform(rng, 0.25, 0.9), float(rng.uniform(0.3, 0.6))
    out = np.zeros(length)
    plucked: dict[float, Array] = {}
    for note in notes:
        if note.pitch not in plucked:
            plucked[note.pitch] = plucked_string(
                float(frequency_hz(note.pitch)), int(decay_s * rate_hz), rate_hz, rng,
                brightness=brightness, decay_s=decay_s, damping=0.5, position=0.25,
            )  # fmt: skip
        tone = fade_ends(plucked[note.pitch], rate_hz, 0.05)
        add_at(out, tone * note.velocity, int(note.start_s * rate_hz))
    return out
