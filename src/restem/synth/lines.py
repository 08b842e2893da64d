"""Melodic and harmonic parts: lists of notes over the score's chords.

The functions take the score, the bars in which the part plays `(bar,)`, and a generator, and return
notes in order of time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from restem.synth.score import Chord, Note, Score
from restem.synth.signals import Array, Generator

BASS_LINES = ("pump", "root", "root fifth", "octaves", "walking", "syncopated", "riff", "arpeggio")
COMPING = ("sustained", "stabs", "quarters", "offbeats", "arpeggio", "broken", "strum")


def humanise(notes: Sequence[Note], rng: Generator, tightness_s: float) -> list[Note]:
    """Notes moved by a random few milliseconds, with slightly uneven velocities."""
    moved = []
    for note in notes:
        start_s = max(0.0, note.start_s + float(rng.normal(0.0, tightness_s)))
        velocity = float(np.clip(note.velocity * rng.uniform(0.85, 1.1), 0.05, 1.0))
        moved.append(Note(start_s, note.seconds, note.pitch, velocity))
    return moved


def nearest_pitch(pitch_class: int, target: float) -> int:
    """The pitch of a pitch class that is closest to `target`."""
    return int(pitch_class + 12 * np.round((target - pitch_class) / 12.0))


def voicing(chord: Chord, centre: float, count: int) -> list[int]:
    """`count` pitches of a chord around `centre`, from low to high, doubling at the octave."""
    pitches = sorted(nearest_pitch(pitch_class, centre) for pitch_class in chord.pitch_classes)
    while len(pitches) < count:
        pitches.append(pitches[len(pitches) - len(chord.pitch_classes)] + 12)
    return pitches[:count]


def _played_bars(active: Array) -> list[int]:
    return [int(bar) for bar in np.flatnonzero(active)]


def step_pattern(rng: Generator, beats: int, density: float, steps_per_beat: int = 4) -> list[float]:
    """Random onsets within a bar, in beats: the stronger the metrical position, the likelier."""
    onsets = []
    for step in range(beats * steps_per_beat):
        position = step / steps_per_beat
        strength = 1.0 if position % 1.0 == 0 else 0.65 if position % 0.5 == 0 else 0.35
        if step == 0 or rng.random() < density * strength:
            onsets.append(position)
    return onsets


def bass_line(
    score: Score, active: Array, rng: Generator, *, kind: str, lowest: float, sustain: float = 0.9
) -> list[Note]:
    """A bass line of one of `BASS_LINES`, within about an octave and a half above `lowest`."""
    beats = score.beats_per_bar
    pattern = step_pattern(rng, beats, float(rng.uniform(0.35, 0.8)))
    riff = [int(step) for step in rng.choice([0, 0, 0, 2, 4, 7, 5], len(pattern))]
    riff[0] = 0
    pump_step = float(rng.choice([0.5, 0.5, 1.0, 0.25 if score.tempo_bpm < 110 else 0.5]))
    notes: list[Note] = []
    for bar in _played_bars(active):
        first = float(bar * beats)
        for onset, length, pitch in _bass_bar(score, rng, kind, first, lowest, pattern, riff, pump_step):
            accent = 1.0 if onset % 1.0 == 0 else 0.85
            velocity = accent * float(rng.uniform(0.75, 0.95))
            notes.append(score.note(onset, length * sustain, pitch, velocity))
    return notes


def _bass_bar(
    score: Score,
    rng: Generator,
    kind: str,
    first: float,
    lowest: float,
    pattern: Sequence[float],
    riff: Sequence[int],
    pump_step: float,
) -> list[tuple[float, float, int]]:
    """One bar of bass as (onset, length, pitch), onset and length in beats."""
    beats = score.beats_per_bar

    def root_at(beat: float) -> int:
        return int(lowest + (score.chord_at(beat).root - lowest) % 12)

    def tone_at(beat: float, number: int) -> int:
        chord = score.chord_at(beat)
        above = (chord.pitch_classes[number % len(chord.pitch_classes)] - chord.root) % 12
        return root_at(beat) + above

    line: list[tuple[float, float, int]] = []
    if kind == "pump":
        onsets = np.arange(first, first + beats, pump_step).tolist()
        line = [(onset, pump_step, root_at(onset)) for onset in onsets]
    elif kind == "root":
        changes = [chord.start_beat for chord in score.chords]
        onsets = sorted({first, *(beat for beat in changes if first < beat < first + beats)})
        stops = [*onsets[1:], first + beats]
        line = [(a, b - a, root_at(a)) for a, b in zip(onsets, stops, strict=True)]
    elif kind == "root fifth":
        half = beats / 2.0 if beats % 2 == 0 else 1.0
        line.append((first, half * 0.9, root_at(first)))
        line.append((first + half, (beats - half) * 0.9, tone_at(first + half, 2)))
        if rng.random() < 0.4:
            line.append((first + beats - 0.5, 0.5, root_at(first + beats - 0.5)))
    elif kind == "octaves":
        for step in range(2 * beats):
            onset = first + step / 2.0
            line.append((onset, 0.45, root_at(onset) + 12 * (step % 2)))
    elif kind == "walking":
        pitch = root_at(first)
        for beat in range(beats):
            line.append((first + beat, 0.95, pitch))
            target = root_at(first + beats) if beat == beats - 2 else None
            if target is not None:
                pitch = target + int(rng.choice([-1, 1, -2, 2]))  # approach note to the next root
            else:
                pitch = tone_at(first + beat + 1, int(rng.integers(0, 4)))
            pitch = int(np.clip(pitch, lowest, lowest + 19))
    elif kind == "arpeggio":
        for step in range(2 * beats):
            onset = first + step / 2.0
            line.append((onset, 0.48, tone_at(onset, (0, 1, 2, 1)[step % 4])))
    else:
        stops = [*pattern[1:], float(beats)]
        for onset, stop, jump in zip(pattern, stops, riff, strict=True):
            shift = 0 if kind == "syncopated" and jump not in (0, 7) else jump
            # A riff stays in the key: the scale pitch nearest to its interval.
            wanted = root_at(first + onset) + shift
            pitch = min(score.scale_pitches(wanted - 2, wanted + 2), key=lambda p: abs(p - wanted))
            line.append((first + onset, min(stop - onset, 1.5), pitch))
    return line


def comping(
    score: Score,
    active: Array,
    rng: Generator,
    *,
    kind: str,
    centre: float,
    count: int = 4,
    length: float = 0.9,
) -> list[list[Note]]:
    """Chords, as groups of notes struck together (a group of one in arpeggios), in time order.

    kind: one of `COMPING`. The groups let a guitar strum and a piano spread its chords.
    """
    beats = score.beats_per_bar
    density = float(rng.uniform(0.25, 0.6))
    pattern = step_pattern(rng, beats, density, int(rng.choice([2, 4])))
    order = rng.permutation(count) if rng.random() < 0.4 else np.arange(count)
    step = float(rng.choice([0.25, 0.5, 0.5, 1.0])) if score.tempo_bpm < 125 else 0.5
    groups: list[list[Note]] = []

    def strike(beat: float, span: float, velocity: float) -> None:
        pitches = voicing(score.chord_at(beat), centre, count)
        groups.append([score.note(beat, span, pitch, velocity) for pitch in pitches])

    for bar in _played_bars(active):
        first = float(bar * beats)
        stops = [*pattern[1:], float(beats)]
        if kind == "sustained":
            changes = {first, *(c.start_beat for c in score.chords)}
            onsets = sorted(beat for beat in changes if first <= beat < first + beats)
            for onset, stop in zip(onsets, [*onsets[1:], first + beats], strict=True):
                strike(onset, (stop - onset) * length, 0.7)
        elif kind == "stabs":
            for onset, stop in zip(pattern, stops, strict=True):
                strike(first + onset, min(stop - onset, 0.6) * length, float(rng.uniform(0.6, 1.0)))
        elif kind == "strum":
            for onset, stop in zip(pattern, stops, strict=True):
                accent = 0.95 if onset % 1.0 == 0 else 0.7
                strike(first + onset, (stop - onset) * length, accent)
        elif kind == "quarters":
            for beat in range(beats):
                strike(first + beat, length, 0.85 if beat % 2 == 0 else 0.7)
        elif kind == "offbeats":
            for beat in range(beats):
                strike(first + beat + 0.5, 0.4 * length, 0.8)
        else:
            for number, onset in enumerate(np.arange(first, first + beats, step)):
                pitches = voicing(score.chord_at(onset), centre, count)
                broken = (0, count - 1, 1, count - 1)[number % 4]
                pick = broken if kind == "broken" else int(order[number % count])
                span = step * length if kind == "broken" else 2.0 * step * length
                velocity = 0.85 if number % 4 == 0 else 0.7
                groups.append([score.note(onset, span, pitches[pick], velocity)])
    return groups


def melody(
    score: Score,
    active: Array,
    rng: Generator,
    *,
    low: float,
    high: float,
    density: float,
    breath: float = 0.5,
) -> list[Note]:
    """A melody: a motif repeated and varied, chord tones on strong beats, rests between phrases.

    density in [0, 1]: from long notes to runs. breath: the rest after each phrase, in beats.
    """
    beats = score.beats_per_bar
    scale = score.scale_pitches(low, high)
    phrase_bars = int(rng.choice([1, 2])) if score.tempo_bpm < 100 else 2
    motifs = [_phrase_rhythm(rng, phrase_bars * beats, density, breath) for _ in range(2)]
    contours = [np.cumsum(rng.normal(0.0, 1.6, len(motif))) for motif in motifs]
    position = 0.5 * (len(scale) - 1) + float(rng.normal(0.0, 1.5))
    notes: list[Note] = []
    bars = set(_played_bars(active))
    for number, phrase in enumerate(range(0, score.bars, phrase_bars)):
        motif = int(number % 4 == 2)
        for (onset, span), height in zip(motifs[motif], contours[motif], strict=True):
            beat = phrase * beats + onset
            if int(beat // beats) not in bars:
                continue
            step = position + height + float(rng.normal(0.0, 0.5))
            index = int(np.clip(round(step), 0, len(scale) - 1))
            pitch = scale[index]
            if onset % 1.0 == 0 or span >= 1.0:
                tones = score.chord_at(beat).pitch_classes
                near = [p for p in scale if p % 12 in tones] or scale
                pitch = min(near, key=lambda p: (abs(p - pitch), p))
            notes.append(score.note(beat, span, pitch, float(rng.uniform(0.6, 1.0))))
        position += 0.3 * (0.5 * (len(scale) - 1) - position) + float(rng.normal(0.0, 0.8))
    return notes


def _phrase_rhythm(rng: Generator, beats: int, density: float, breath: float) -> list[tuple[float, float]]:
    """Onsets and lengths, in beats, of one phrase that leaves `breath` beats of rest at its end."""
    fullest: list[tuple[float, float]] = []
    for _ in range(4):
        rhythm = _draw_rhythm(rng, max(beats - breath, 1.0), density)
        if sum(span for _, span in rhythm) > sum(span for _, span in fullest):
            fullest = rhythm
        if sum(span for _, span in fullest) > 0.6 * (beats - breath):
            break  # dense enough; sparser rhythms are drawn again
    return fullest


def _draw_rhythm(rng: Generator, end: float, density: float) -> list[tuple[float, float]]:
    """Onsets and lengths of notes up to `end`, in beats, with an occasional rest between them."""
    lengths = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
    weights = np.exp(-((np.log2(lengths) - (1.2 - 2.6 * density)) ** 2) / 1.2)
    onset = float(rng.choice([0.0, 0.0, 0.5, 1.0]))
    rhythm: list[tuple[float, float]] = []
    while onset < end - 0.2:
        span = min(float(rng.choice(lengths, p=weights / weights.sum())), end - onset)
        if rhythm and rng.random() < 0.08:
            onset += span  # a rest within the phrase
            continue
        rhythm.append((onset, span))
        onset += span
    return rhythm or [(0.0, 1.0)]
