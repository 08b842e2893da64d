"""Guitars: steel and nylon strummed or picked, clean, crunch and distorted electric."""

from __future__ import annotations

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
    log_uniform,
    plucked_string,
)

SOUNDS = ("steel", "nylon", "clean", "crunch", "distorted", "muted")

_OPEN_STRINGS = (40, 45, 50, 55, 59, 64)
_RING_S = 2.5


def play_guitar(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Note], Array]:
    """Draw a guitar sound and a part and render them: the notes, and `(2, sample)` or `(sample,)`."""
    sound = str(rng.choice(SOUNDS))
    if score.style == "metal" or (score.style == "rock" and rng.random() < 0.4):
        sound = str(rng.choice(["distorted", "distorted", "crunch"]))
    tightness_s = float(rng.choice([0.002, 0.006, 0.01]))
    if sound == "distorted":
        manner = str(rng.choice(["power", "power", "riff", "lead"]))
    elif sound == "crunch":
        manner = str(rng.choice(["power", "strum", "lead", "arpeggio"]))
    elif sound == "muted":
        manner = str(rng.choice(["riff", "arpeggio", "strum"]))
    else:
        manner = str(rng.choice(["strum", "strum", "arpeggio", "lead", "stabs"]))
    if manner == "lead":
        low = float(rng.uniform(50, 64))
        notes = melody(score, active, rng, low=low, high=low + 20, density=float(rng.uniform(0.4, 0.8)))
    elif manner == "riff":
        low = float(rng.choice([40, 45, 52]))
        notes = melody(score, active, rng, low=low, high=low + 13, density=0.75, breath=0.2)
    elif manner == "power":
        notes = _power_chords(score, active, rng)
    elif manner == "arpeggio":
        groups = comping(
            score,
            active,
            rng,
            kind="arpeggio",
            centre=float(rng.uniform(52, 62)),
            count=5,
            length=2.0,
        )
        notes = [note for group in groups for note in group]
    else:
        notes = _strummed(score, active, rng, "strum" if manner == "strum" else "stabs")
    notes = humanise(notes, rng, tightness_s)
    return notes, render_guitar(notes, sound, rng, rate_hz, length)


def _power_chords(score: Score, active: Array, rng: Generator) -> list[Note]:
    """Power chords, root, fifth and octave on the low strings, in eighth notes or sustained."""
    kind = str(rng.choice(["strum", "stabs", "sustained"]))
    groups = comping(score, active, rng, kind=kind, centre=50.0, count=3, length=0.95)
    notes: list[Note] = []
    for group in groups:
        root = 40 + (score.chord_at(group[0].start_s / score.beat_s + 0.01).root - 40) % 12
        first = group[0]
        notes += [Note(first.start_s, first.seconds, root + interval, first.velocity) for interval in (0, 7, 12)]
    return notes


def _strummed(score: Score, active: Array, rng: Generator, kind: str) -> list[Note]:
    """Full chords on six strings, strummed down and up."""
    spread_s = log_uniform(rng, 0.004, 0.025)
    capo = int(rng.choice([0, 0, 0, 2, 5]))
    groups = comping(
        score, active, rng, kind=kind, centre=55.0, count=3,
        length=0.98 if kind == "strum" else float(rng.uniform(0.3, 0.8)),
    )  # fmt: skip
    notes = []
    for number, group in enumerate(groups):
        chord = score.chord_at(group[0].start_s / score.beat_s + 0.01)
        fretted = _fretted(chord.pitch_classes, capo)
        upward = number % 2 == 1 and len(groups) > 4
        order = fretted[::-1][:4] if upward else fretted
        for place, pitch in enumerate(order):
            start_s = group[0].start_s + place * spread_s
            velocity = group[0].velocity * (0.75 if upward else 1.0)
            notes.append(Note(start_s, group[0].seconds, pitch, velocity))
    return sorted(notes, key=lambda note: note.start_s)


def _fretted(pitch_classes: tuple[int, ...], capo: int) -> list[int]:
    """The lowest chord tone on each string from the root up, above the capo."""
    pitches: list[int] = []
    for string in _OPEN_STRINGS:
        pitch = next(p for p in range(string + capo, string + capo + 12) if p % 12 in pitch_classes)
        if (pitches or pitch % 12 == pitch_classes[0] or string > 45) and pitch not in pitches:
            pitches.append(pitch)
    return pitches


def render_guitar(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Render notes on a guitar of one of `SOUNDS`: `(sample,)`, or `(2, sample)` if double-tracked."""
    doubled = sound in ("distorted", "crunch", "steel", "muted") and rng.random() < 0.35
    if not doubled:
        return _one_guitar(notes, sound, rng, rate_hz, length)
    second = [
        Note(
            note.start_s + abs(float(rng.normal(0.0, 0.008))),
            note.seconds,
            note.pitch,
            note.velocity,
        )
        for note in notes
    ]
    state = rng.spawn(1)[0]
    left = _one_guitar(notes, sound, rng, rate_hz, length)
    right = _one_guitar(second, sound, state, rate_hz, length)
    width = float(rng.uniform(0.5, 1.0))
    balance = np.abs(left).max() / (np.abs(right).max() + 1e-9)
    return effects.pan(left, -width) + effects.pan(right * balance, width)


def _one_guitar(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    strings = _strings(notes, sound, rng, rate_hz, length)
    if sound in ("steel", "nylon"):
        peaks = [
            (log_uniform(rng, 90, 130), float(rng.uniform(2, 8)), 3.0),  # air (Helmholtz) resonance of the body
            (log_uniform(rng, 180, 260), float(rng.uniform(2, 7)), 3.0),  # top plate
            (log_uniform(rng, 350, 700), float(rng.uniform(-3, 4)), 2.0),
            (log_uniform(rng, 2500, 5000), float(rng.uniform(-2, 6)), 0.8),
        ]
        return effects.highpass(effects.body_resonance(strings, rate_hz, peaks), rate_hz, 70.0)
    # A magnetic pickup has a resonance at a few kilohertz.
    strings = effects.body_resonance(strings, rate_hz, [(log_uniform(rng, 1800, 4500), float(rng.uniform(2, 9)), 1.2)])
    strings = effects.highpass(strings, rate_hz, log_uniform(rng, 70, 250), 1)
    if sound in ("clean", "muted"):
        out = effects.drive(strings, log_uniform(rng, 0.2, 1.5))
    else:
        amount = log_uniform(rng, 3.0, 10.0) if sound == "crunch" else log_uniform(rng, 12.0, 80.0)
        pushed = effects.drive(effects.lowpass(strings, rate_hz, 4000.0), amount, 0.2)
        out = effects.drive(effects.highpass(pushed, rate_hz, 60.0), 1.5)
    return _cabinet(out, rate_hz, rng)


def _cabinet(sound: Array, rate_hz: int, rng: Generator) -> Array:
    """A guitar cabinet: little below 90 Hz, little above 5 kHz, resonances between."""
    sound = effects.highpass(sound, rate_hz, log_uniform(rng, 70.0, 130.0))
    sound = effects.lowpass(sound, rate_hz, log_uniform(rng, 3200.0, 7000.0), 4)
    peaks = [
        (log_uniform(rng, 100, 180), float(rng.uniform(0, 5)), 1.0),
        (log_uniform(rng, 350, 800), float(rng.uniform(-6, 1)), 1.0),
        (log_uniform(rng, 1800, 3500), float(rng.uniform(0, 7)), 1.2),
    ]
    return effects.body_resonance(sound, rate_hz, peaks)


def _strings(notes: list[Note], sound: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """The strings alone, without body or amplifier: `(sample,)`."""
    brightness = float(rng.uniform(0.35, 0.6) if sound == "nylon" else rng.uniform(0.55, 0.95))
    damping = float(rng.uniform(0.25, 0.5) if sound == "nylon" else rng.uniform(0.05, 0.3))
    decay_s = log_uniform(rng, 2.0, 8.0)
    if sound == "muted":
        decay_s, damping = log_uniform(rng, 0.15, 0.5), 0.5
    if sound in ("distorted", "crunch"):
        decay_s *= 2.0
    position = float(rng.uniform(0.06, 0.4))
    release_s = log_uniform(rng, 0.03, 0.15)
    detune = float(rng.normal(0.0, 0.05))
    pick = float(rng.uniform(0.0, 0.05))
    palm = sound == "distorted" and rng.random() < 0.5
    out = np.zeros(length)
    rung: dict[tuple[float, int], Array] = {}
    for note in notes:
        strength = int(note.velocity > 0.75)
        if (note.pitch, strength) not in rung:
            rung[(note.pitch, strength)] = plucked_string(
                float(frequency_hz(note.pitch + detune + float(rng.normal(0.0, 0.03)))),
                int(_RING_S * rate_hz), rate_hz, rng,
                brightness=brightness * (0.8 + 0.2 * strength), decay_s=decay_s, damping=damping,
                position=position,
            )  # fmt: skip
        tone = rung[(note.pitch, strength)][: int((note.seconds + release_s) * rate_hz)]
        held_s = 0.08 if palm and note.velocity < 0.75 else note.seconds
        tone = tone * envelope(
            len(tone), rate_hz, attack_s=0.001, decay_s=9.0, sustain=1.0, held_s=held_s,
            release_s=release_s,
        )  # fmt: skip
        start = int(note.start_s * rate_hz)
        add_at(out, fade_ends(tone, rate_hz) * note.velocity, start)
        scrape = rng.standard_normal(int(0.006 * rate_hz))
        add_at(out, pick * note.velocity * scrape * np.linspace(1, 0, len(scrape)), start)
    return out
