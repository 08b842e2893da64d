"""Synthesisers: pads, leads, arpeggios, plucks, bells and stabs."""

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
    frame_count,
    frequency_hz,
    harmonic_count,
    log_uniform,
    lowpass_response,
    moving_filter,
    phase_of,
    read_table,
    smooth_noise,
    wavetable,
)

SOUNDS = ("pad", "pad", "lead", "arpeggio", "pluck", "bell", "stab", "supersaw")


def play_synth(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Note], Array]:
    """Draw a synthesiser sound and a part and render them: the notes, and `(sample,)` or `(2, sample)`."""
    sound = str(rng.choice(SOUNDS))
    # A low pad is easily mistaken for a bass; a high one is hardly audible.
    centre = float(rng.choice([rng.uniform(40, 52), rng.uniform(52, 72), rng.uniform(52, 72)]))
    if sound == "lead":
        low = float(rng.uniform(50, 68))
        notes = melody(score, active, rng, low=low, high=low + 20, density=float(rng.uniform(0.3, 0.9)))
    else:
        kind = {
            "pad": "sustained",
            "arpeggio": "arpeggio",
            "stab": "stabs",
            "bell": "arpeggio",
        }.get(sound, str(rng.choice(["stabs", "offbeats", "arpeggio", "strum", "sustained"])))
        groups = comping(
            score, active, rng, kind=kind, centre=centre, count=int(rng.integers(3, 5)),
            length=float(rng.uniform(0.4, 1.0)) if sound != "pad" else 1.0,
        )  # fmt: skip
        notes = [note for group in groups for note in group]
    notes = humanise(notes, rng, float(rng.choice([0.0, 0.0, 0.004])))
    return notes, render_synth(notes, sound, rng, rate_hz, length)


def render_synth(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Render notes on a synthesiser with one of `SOUNDS`: `(sample,)` or `(2, sample)`."""
    if sound == "pad":
        out = _pad(notes, rng, rate_hz, length)
    elif sound == "bell":
        out = _frequency_modulation(notes, rng, rate_hz, length)
    else:
        out = _oscillators(notes, sound, rng, rate_hz, length)
    if sound in ("pad", "supersaw") or rng.random() < 0.5:
        out = _sweep(out, _filter_movement(rng, out.shape[-1], rate_hz), rng, rate_hz)
    if out.ndim == 1 and rng.random() < 0.4:
        return effects.chorus(out, rate_hz, rng)
    return out


def _filter_movement(rng: Generator, length: int, rate_hz: int) -> Array:
    """The modulation of a filter's cutoff in octaves, one value per frame: a sine LFO or slow noise."""
    count = frame_count(length, rate_hz)
    position = np.linspace(0.0, 1.0, count)
    if rng.random() < 0.5:
        turns = log_uniform(rng, 0.5, 24.0)
        return 1.5 * np.sin(2.0 * np.pi * (turns * position + rng.random()))
    return 1.5 * smooth_noise(rng, count, 100, 0.3)


def _sweep(sound: Array, octaves: Array, rng: Generator, rate_hz: int) -> Array:
    """A resonant low-pass whose cutoff follows a curve in octaves."""
    centre_hz, depth = log_uniform(rng, 500.0, 6000.0), float(rng.uniform(0.0, 1.0))
    cutoff = np.clip(centre_hz * 2.0 ** (depth * octaves), 80.0, 0.45 * rate_hz)
    resonance = log_uniform(rng, 0.6, 4.0)
    channels = [
        moving_filter(channel, rate_hz, lambda bins: lowpass_response(bins, cutoff, resonance))
        for channel in np.atleast_2d(sound)
    ]
    return np.stack(channels) if sound.ndim == 2 else channels[0]


def _shape(rng: Generator, count: int) -> Array:
    """Harmonic amplitudes of a saw, square, pulse, triangle, or a random digital wave."""
    number = np.arange(1, count + 1)
    kind = str(rng.choice(["saw", "saw", "square", "pulse", "triangle", "digital"]))
    if kind == "saw":
        return 1.0 / number
    if kind == "square":
        return (number % 2) / number
    if kind == "pulse":
        return np.asarray(np.sin(np.pi * number * float(rng.uniform(0.05, 0.45))) / number)
    if kind == "triangle":
        return (number % 2) / number**2
    return rng.uniform(0.0, 1.0, count) / number ** float(rng.uniform(0.5, 1.5))


def _pad(notes: list[Note], rng: Generator, rate_hz: int, length: int) -> Array:
    """Sustained chords from one `ensemble_table` per pitch and side: `(2, sample)`."""
    amplitudes = _shape(rng, 60)
    spread_cents = log_uniform(rng, 5.0, 60.0)
    attack_s, release_s = log_uniform(rng, 0.05, 1.0), log_uniform(rng, 0.2, 1.5)
    out = np.zeros((2, length), dtype=np.float32)
    loops: dict[float, list[Array]] = {}
    for note in notes:
        base = float(frequency_hz(note.pitch))
        if note.pitch not in loops:
            kept = amplitudes[: harmonic_count(base, rate_hz, 10000.0)]
            loops[note.pitch] = [
                ensemble_table(base, kept, rate_hz, rng, spread_cents=spread_cents, seconds=3.0).astype(np.float32)
                for _ in range(2)
            ]
        count = int((note.seconds + release_s) * rate_hz)
        shape = envelope(
            count, rate_hz, attack_s=min(attack_s, 0.7 * note.seconds), decay_s=2.0, sustain=0.9,
            held_s=note.seconds, release_s=release_s,
        )  # fmt: skip
        shape = fade_ends((note.velocity * shape).astype(np.float32), rate_hz)
        offset = int(rng.integers(0, len(loops[note.pitch][0])))
        for side, loop in enumerate(loops[note.pitch]):
            tone = np.take(loop, np.arange(offset, offset + count), mode="wrap")
            add_at(out[side], tone * shape, int(note.start_s * rate_hz))
    return out


def _oscillators(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Subtractive synthesis: detuned oscillators, and an envelope from a bright to a low-passed wave."""
    amplitudes = _shape(rng, 300)
    voices = int(rng.integers(3, 6)) if sound == "supersaw" else int(rng.integers(1, 3))
    detune_cents = log_uniform(rng, 3.0, 30.0)
    attack_s = log_uniform(rng, 0.001, 0.03)
    decay_s, sustain = log_uniform(rng, 0.05, 0.8), float(rng.uniform(0.2, 1.0))
    release_s = log_uniform(rng, 0.03, 0.4)
    if sound in ("pluck", "arpeggio"):
        decay_s, sustain = log_uniform(rng, 0.06, 0.4), float(rng.uniform(0.0, 0.3))
    bright_s = log_uniform(rng, 0.04, 0.6)
    dull_hz = log_uniform(rng, 300.0, 4000.0)
    vibrato = float(rng.uniform(0.0, 0.3)) if sound == "lead" else 0.0
    glide_s = log_uniform(rng, 0.005, 0.08) if sound == "lead" and rng.random() < 0.5 else 0.0
    out = np.zeros(length)
    before = notes[0].pitch if notes else 60.0
    tables: dict[float, tuple[Array, Array]] = {}
    for note in notes:
        count = int((note.seconds + release_s) * rate_hz)
        time = np.arange(count) / rate_hz
        base = float(frequency_hz(note.pitch))
        if note.pitch not in tables:
            kept = amplitudes[: harmonic_count(base * 1.03, rate_hz, 15000.0)]
            number = np.arange(1, len(kept) + 1)
            dulled = kept / (1.0 + (number * base / dull_hz) ** 4) ** 0.5
            tables[note.pitch] = (wavetable(kept), wavetable(dulled))
        bright_table, dull_table = tables[note.pitch]
        if glide_s or vibrato:
            pitch = note.pitch + vibrato * np.clip(time - 0.2, 0.0, 1.0) * np.sin(2 * np.pi * 5.5 * time)
            if glide_s:
                pitch = pitch + (before - note.pitch) * np.exp(-time / glide_s)
            phase = phase_of(frequency_hz(pitch), rate_hz)
        else:
            phase = np.arange(count) * (base / rate_hz)
        before = note.pitch
        brightness = np.exp(-time / bright_s)
        tone = np.zeros(count)
        for voice in range(voices):
            cents = detune_cents * (voice - 0.5 * (voices - 1))
            turned = phase * 2.0 ** (cents / 1200.0) + float(rng.random())
            tone += read_table(dull_table, turned)
            if sound != "supersaw":
                tone += brightness * (read_table(bright_table, turned) - read_table(dull_table, turned))
        shape = envelope(
            count, rate_hz, attack_s=attack_s, decay_s=decay_s, sustain=sustain,
            held_s=note.seconds, release_s=release_s,
        )  # fmt: skip
        add_at(out, fade_ends(tone * shape * note.velocity, rate_hz), int(note.start_s * rate_hz))
    if rng.random() < 0.3:
        out = effects.drive(out, log_uniform(rng, 0.5, 6.0))
    return effects.lowpass(out, rate_hz, log_uniform(rng, 2500.0, 16000.0))


def _frequency_modulation(notes: list[Note], rng: Generator, rate_hz: int, length: int) -> Array:
    """Two-operator frequency modulation (Chowning 1973): bells, tines and glass."""
    ratio = float(rng.choice([1.0, 2.0, 3.0, 1.41, 3.5, 7.0, 0.5]))
    index, index_s = log_uniform(rng, 0.4, 5.0), log_uniform(rng, 0.1, 1.5)
    decay_s, release_s = log_uniform(rng, 0.3, 2.5), log_uniform(rng, 0.1, 0.8)
    out = np.zeros(length)
    for note in notes:
        count = int((note.seconds + release_s) * rate_hz)
        time = np.arange(count) / rate_hz
        angle = 2.0 * np.pi * float(frequency_hz(note.pitch)) * time
        # Fewer sidebands for high notes, to avoid aliasing.
        depth = min(index, 9000.0 / float(frequency_hz(note.pitch)) / max(ratio, 1.0))
        tone = np.sin(angle + depth * np.exp(-time / index_s) * np.sin(ratio * angle))
        shape = envelope(
            count, rate_hz, attack_s=0.002, decay_s=decay_s, sustain=0.0, held_s=note.seconds,
            release_s=release_s,
        )  # fmt: skip
        add_at(out, fade_ends(tone * shape * note.velocity, rate_hz), int(note.start_s * rate_hz))
    return out
