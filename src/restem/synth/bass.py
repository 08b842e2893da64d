"""Basses: fingered, picked, slapped, muted, fretless and upright; synth bass, sub-bass and gliding 808 bass."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from restem.synth import effects
from restem.synth.lines import BASS_LINES, bass_line, humanise, melody
from restem.synth.score import Note, Score
from restem.synth.signals import (
    Array,
    Generator,
    add_at,
    at_frames,
    envelope,
    fade_ends,
    frequency_hz,
    harmonic_count,
    log_uniform,
    lowpass_response,
    moving_filter,
    phase_of,
    plucked_string,
    read_table,
    wavetable,
)

STRINGS = ("fingered", "picked", "slapped", "muted", "upright", "fretless")
SYNTHS = ("synth", "sub", "808", "acid", "fm")

_STYLE_SOUNDS = {
    "jazz": ("upright", "upright", "fretless", "fingered"),
    "bossa": ("upright", "fingered"),
    "house": ("synth", "sub", "fm", "acid", "fingered"),
    "trap": ("808", "808", "sub"),
    "hip hop": ("808", "sub", "fingered", "upright", "synth"),
    "electro": ("synth", "acid", "fm", "sub"),
    "drum and bass": ("synth", "sub", "fm"),
    "metal": ("picked", "picked", "fingered"),
    "funk": ("slapped", "fingered", "synth"),
    "reggae": ("muted", "fingered", "sub"),
}

_STYLE_LINES = {
    "jazz": ("walking", "walking", "riff"),
    "blues": ("walking", "riff", "root fifth"),
    "bossa": ("root fifth", "syncopated"),
    "disco": ("octaves", "syncopated", "riff"),
    "house": ("octaves", "syncopated", "riff", "pump"),
    "trap": ("root", "syncopated"),
    "funk": ("syncopated", "riff"),
    "ambient": ("root", "arpeggio"),
    "metal": ("pump", "riff"),
}


def play_bass(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Note], Array]:
    """Draw a bass sound and a bass line and render them: the notes, and `(sample,)`."""
    sounds = _STYLE_SOUNDS.get(score.style, STRINGS + SYNTHS)
    sound = str(rng.choice(sounds if rng.random() < 0.7 else STRINGS + SYNTHS))
    lines = _STYLE_LINES.get(score.style, BASS_LINES)
    line = str(rng.choice(lines if rng.random() < 0.7 else BASS_LINES))
    # Most lines lie in the lowest register; some share that of guitars and the pianist's left hand.
    lowest = int(rng.choice([28, 28, 30, 33, 36, 40], p=[0.35, 0.2, 0.15, 0.15, 0.1, 0.05]))
    sustain = float(rng.choice([0.5, 0.8, 0.95]))
    if rng.random() < 0.07:
        notes = melody(score, active, rng, low=lowest + 5, high=lowest + 26, density=0.6)
    else:
        notes = bass_line(score, active, rng, kind=line, lowest=lowest, sustain=sustain)
    notes = humanise(notes, rng, float(rng.choice([0.0, 0.004, 0.008])))
    return notes, render_bass(notes, sound, rng, rate_hz, length)


def render_bass(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Play notes on a bass of `STRINGS` or `SYNTHS`, one note at a time: `(sample,)`."""
    if not notes:
        return np.zeros(length)
    notes = _one_at_a_time(notes)
    if sound in STRINGS:
        return _string_bass(notes, sound, rng, rate_hz, length)
    return _synth_bass(notes, sound, rng, rate_hz, length)


def _one_at_a_time(notes: list[Note]) -> list[Note]:
    """Shorten notes that overlap the next: basses here are monophonic."""
    ordered = sorted(notes, key=lambda note: note.start_s)
    cut = []
    for note, following in zip(ordered, [*ordered[1:], None], strict=True):
        room_s = note.seconds if following is None else following.start_s - note.start_s
        if room_s > 0.01:
            cut.append(Note(note.start_s, min(note.seconds, room_s), note.pitch, note.velocity))
    return cut


def _string_bass(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    brightness = {
        "fingered": rng.uniform(0.3, 0.6), "picked": rng.uniform(0.6, 0.95),
        "slapped": rng.uniform(0.8, 1.0), "muted": rng.uniform(0.15, 0.4),
        "upright": rng.uniform(0.2, 0.5), "fretless": rng.uniform(0.25, 0.5),
    }[sound]  # fmt: skip
    decay_s = {
        "muted": log_uniform(rng, 0.4, 1.0), "upright": log_uniform(rng, 1.0, 3.0)
    }.get(sound, log_uniform(rng, 3.0, 10.0))  # fmt: skip
    damping = float(rng.uniform(0.1, 0.5)) if sound not in ("muted", "upright") else 0.5
    position = float(rng.uniform(0.08, 0.35))
    detune = float(rng.normal(0.0, 0.06))
    slide = sound == "fretless" and rng.random() < 0.7
    finger_noise = float(rng.uniform(0.0, 0.08)) * (2.0 if sound in ("picked", "slapped") else 1.0)
    out = np.zeros(length)
    rung: dict[tuple[float, int], Array] = {}
    for note in notes:
        # Harder plucks are brighter; three strengths are enough, and each sound is rendered once.
        strength = int(np.clip(note.velocity * 3.0, 0, 2))
        key = (note.pitch, strength)
        if key not in rung:
            rung[key] = plucked_string(
                float(frequency_hz(note.pitch + detune)), int(2.8 * rate_hz), rate_hz, rng,
                brightness=min(1.0, float(brightness) * (0.7 + 0.2 * strength)), decay_s=decay_s,
                damping=damping, position=position,
            )  # fmt: skip
        tail_s = 0.06
        count = min(length, int((note.seconds + tail_s) * rate_hz))
        tone = rung[key][:count]
        tone = tone * envelope(
            len(tone), rate_hz, attack_s=0.001 if sound != "upright" else 0.006, decay_s=5.0,
            sustain=1.0, held_s=note.seconds, release_s=tail_s,
        )  # fmt: skip
        if slide:
            tone = _slide_in(tone, rate_hz, rng)
        start = int(note.start_s * rate_hz)
        add_at(out, fade_ends(tone, rate_hz) * note.velocity, start)
        knock = rng.standard_normal(int(0.012 * rate_hz)) * np.linspace(1.0, 0.0, int(0.012 * rate_hz))
        add_at(out, knock * finger_noise * note.velocity, start)
    out = effects.highpass(out, rate_hz, 30.0)
    if sound == "upright":
        out = effects.body_resonance(
            out,
            rate_hz,
            [(log_uniform(rng, 90, 130), 5.0, 2.0), (log_uniform(rng, 250, 500), 4.0, 1.5)],
        )
    tone_hz = log_uniform(rng, 400.0, 6000.0)
    if sound in ("slapped", "picked"):
        tone_hz = log_uniform(rng, 2000.0, 9000.0)
    out = effects.lowpass(out, rate_hz, tone_hz)
    if rng.random() < (0.5 if sound in ("picked", "fingered") else 0.2):
        driven = effects.drive(out, log_uniform(rng, 1.0, 12.0), float(rng.uniform(0.0, 0.4)))
        out = effects.lowpass(driven, rate_hz, log_uniform(rng, 1500.0, 6000.0), 4)
    return out


def _slide_in(tone: Array, rate_hz: int, rng: Generator) -> Array:
    """Resample a tone so that it slides up to its pitch, with a slight vibrato."""
    count = len(tone)
    time = np.arange(count) / rate_hz
    speed = 1.0 - float(rng.uniform(0.0, 0.08)) * np.exp(-time / 0.04)
    speed += 0.004 * np.sin(2 * np.pi * 5.0 * time) * np.minimum(1.0, time)
    return np.interp(np.cumsum(speed), np.arange(count), tone)


def _synth_bass(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    glide_s = {"808": log_uniform(rng, 0.02, 0.15), "acid": log_uniform(rng, 0.02, 0.08)}.get(sound, 0.002)
    attack_s = log_uniform(rng, 0.001, 0.02)
    decay_s = log_uniform(rng, 0.08, 1.5)
    sustain = float(rng.uniform(0.1, 0.9))
    release_s = log_uniform(rng, 0.02, 0.2)
    if sound == "808":
        decay_s, sustain, release_s = log_uniform(rng, 0.4, 2.0), 0.0, 0.15
    filter_decay_s = log_uniform(rng, 0.05, 0.8)
    frequency, loudness, filter_curve = np.full(length, 55.0), np.zeros(length), np.zeros(length)
    stops = [*(int(note.start_s * rate_hz) for note in notes[1:]), length]
    previous: float | None = None
    for note, stop in zip(notes, stops, strict=True):
        start = int(note.start_s * rate_hz)
        count = min(stop, length) - start
        if count <= 0:
            continue
        time = np.arange(count) / rate_hz
        target = float(frequency_hz(note.pitch))
        from_hz = target if previous is None else previous
        if sound == "808":
            from_hz = target * float(rng.choice([1.0, 1.5, 2.0]))
        frequency[start:stop] = target * (from_hz / target) ** np.exp(-time / glide_s)
        loudness[start:stop] = note.velocity * envelope(
            count, rate_hz, attack_s=attack_s, decay_s=decay_s, sustain=sustain,
            held_s=note.seconds, release_s=release_s,
        )  # fmt: skip
        accent = 0.6 + 0.4 * note.velocity
        filter_curve[start:stop] = accent * np.exp(-time / filter_decay_s)
        previous = target
    # A note cut off by the next would click.
    loudness = ndimage.uniform_filter1d(loudness, max(1, int(0.003 * rate_hz)))
    filter_curve = ndimage.uniform_filter1d(filter_curve, max(1, int(0.006 * rate_hz)))
    phase = phase_of(frequency, rate_hz, float(rng.random()))
    out = _bass_oscillators(sound, phase, frequency, filter_curve, rng, rate_hz)
    if sound in ("synth", "acid"):
        resonance = log_uniform(rng, 0.7, 3.0) if sound == "synth" else log_uniform(rng, 3.0, 10.0)
        floor_hz, span = log_uniform(rng, 90.0, 700.0), float(rng.uniform(0.5, 4.5))
        cutoff = floor_hz * 2.0 ** (span * at_frames(filter_curve, rate_hz))
        out = moving_filter(out, rate_hz, lambda bins: lowpass_response(bins, cutoff, resonance)).astype(np.float64)
    out = out * loudness
    if sound == "808" or rng.random() < 0.35:
        out = effects.drive(out, log_uniform(rng, 0.7, 8.0), float(rng.uniform(0.0, 0.3)))
    return effects.highpass(effects.lowpass(out, rate_hz, log_uniform(rng, 600, 12000)), rate_hz, 25.0)


def _bass_oscillators(
    sound: str, phase: Array, frequency: Array, filter_curve: Array, rng: Generator, rate_hz: int
) -> Array:
    """The oscillators of a synth bass, before its filter."""
    if sound in ("sub", "808"):
        overtones = np.array([1.0, *(rng.uniform(0.0, 0.25, 3) / np.arange(2, 5))])
        return read_table(wavetable(overtones), phase)
    if sound == "fm":
        ratio = float(rng.choice([1.0, 2.0, 3.0, 0.5]))
        index = float(rng.uniform(0.5, 5.0)) * filter_curve + float(rng.uniform(0.0, 1.0))
        return np.sin(2.0 * np.pi * phase + index * np.sin(2.0 * np.pi * ratio * phase))
    number = np.arange(1, harmonic_count(float(frequency.max()), rate_hz, 12000.0) + 1)
    shape = str(rng.choice(["saw", "square", "pulse", "triangle"]))
    if shape == "saw":
        amplitudes = 1.0 / number
    elif shape == "square":
        amplitudes = (number % 2) / number
    elif shape == "pulse":
        amplitudes = np.sin(np.pi * number * float(rng.uniform(0.1, 0.4))) / number
    else:
        amplitudes = (number % 2) / number**2
    table = wavetable(amplitudes)
    out = read_table(table, phase)
    if rng.random() < 0.5:
        detuned = 2.0 ** (float(rng.uniform(3.0, 18.0)) / 1200.0)
        out = out + read_table(table, phase * detuned)
    if rng.random() < 0.3:
        out = out + 0.7 * read_table(wavetable(np.ones(1)), 0.5 * phase)
    return out
