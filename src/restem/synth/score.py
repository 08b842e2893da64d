"""The composition of a song: style, tempo, key, chords, sections, and which parts play when.

A `Score` holds what all parts of a song share. Positions are in beats from the start of the song;
`Score.seconds_at` converts them to time, with swing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restem.synth.signals import Array, Generator

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}

# Chord progressions: scale degrees counted from 0, one per chord.
PROGRESSIONS: tuple[tuple[int, ...], ...] = (
    (0, 4, 5, 3), (5, 3, 0, 4), (0, 3, 4, 3), (0, 5, 3, 4), (1, 4, 0, 0), (1, 4, 0, 5),
    (0, 6, 5, 6), (0, 6, 3, 0), (0, 0, 3, 3), (0, 3), (0, 6), (0,), (0, 2, 3, 4), (5, 4, 3, 4),
    (0, 0, 3, 0, 4, 3, 0, 4), (0, 5, 1, 4), (3, 0, 4, 5), (0, 4, 3, 3), (2, 5, 1, 4),
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """A musical style: ranges of tempo and swing, metre, and scales.

    swing: where the second eighth note of a beat falls, as a share of the beat (0.5 is straight).
    sevenths: the probability of seventh chords.
    """

    tempo_bpm: tuple[float, float]
    scales: tuple[str, ...]
    beats_per_bar: int = 4
    swing: tuple[float, float] = (0.5, 0.5)
    sevenths: float = 0.2


_BRIGHT = ("major", "mixolydian", "major", "minor")
_DARK = ("minor", "dorian", "phrygian", "harmonic minor")

STYLES: dict[str, Style] = {
    "rock": Style((95, 150), ("major", "mixolydian", "minor")),
    "pop": Style((85, 130), _BRIGHT),
    "ballad": Style((60, 85), ("major", "minor")),
    "funk": Style((92, 122), ("dorian", "mixolydian"), swing=(0.5, 0.56), sevenths=0.7),
    "soul": Style((70, 105), ("major", "dorian"), swing=(0.5, 0.62), sevenths=0.7),
    "jazz": Style((90, 190), ("major", "dorian"), swing=(0.6, 0.68), sevenths=1.0),
    "blues": Style((70, 125), ("mixolydian", "dorian"), swing=(0.62, 0.68), sevenths=0.8),
    "house": Style((116, 130), ("minor", "dorian", "major"), sevenths=0.4),
    "disco": Style((105, 126), ("minor", "dorian", "major"), sevenths=0.4),
    "hip hop": Style((76, 100), _DARK, swing=(0.5, 0.6), sevenths=0.5),
    "trap": Style((65, 80), _DARK),
    "drum and bass": Style((160, 178), _DARK),
    "reggae": Style((68, 90), ("major", "minor", "mixolydian"), swing=(0.5, 0.6)),
    "latin": Style((90, 125), ("minor", "major", "harmonic minor"), sevenths=0.4),
    "bossa": Style((105, 140), ("major", "minor"), sevenths=0.9),
    "folk": Style((80, 130), ("major", "mixolydian", "dorian")),
    "waltz": Style((85, 160), ("major", "minor"), beats_per_bar=3),
    "metal": Style((110, 180), ("minor", "phrygian", "harmonic minor")),
    "electro": Style((100, 140), _DARK),
    "ambient": Style((60, 95), ("major", "dorian", "minor"), sevenths=0.6),
}


@dataclass(frozen=True)
class Note:
    """One note. pitch: MIDI number, fractions allowed; velocity in (0, 1]."""

    start_s: float
    seconds: float
    pitch: float
    velocity: float


@dataclass(frozen=True)
class Chord:
    """A chord: its span in beats, its root as pitch class 0-11, all pitch classes from the root."""

    start_beat: float
    beats: float
    root: int
    pitch_classes: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """What all parts of a song share. `sections` holds the first bar of each section, and the bar count."""

    style: str
    tempo_bpm: float
    beats_per_bar: int
    swing: float
    tonic: int
    scale: tuple[int, ...]
    chords: tuple[Chord, ...]
    sections: tuple[int, ...]
    seconds: float

    @property
    def bars(self) -> int:
        """The number of bars in the song, the last of which may be cut off by the end."""
        return self.sections[-1]

    @property
    def beat_s(self) -> float:
        """Seconds per beat."""
        return 60.0 / self.tempo_bpm

    def seconds_at(self, beat: float) -> float:
        """The time of a position in beats: swing moves the middle of each beat."""
        whole = np.floor(beat)
        part = beat - whole
        first, second = min(part, 0.5), max(part - 0.5, 0.0)
        swung = 2.0 * (first * self.swing + second * (1.0 - self.swing))
        return float((whole + swung) * self.beat_s)

    def note(self, beat: float, beats: float, pitch: float, velocity: float) -> Note:
        """A note from a position and a length in beats."""
        start_s = self.seconds_at(beat)
        return Note(start_s, max(0.03, self.seconds_at(beat + beats) - start_s), pitch, velocity)

    def chord_at(self, beat: float) -> Chord:
        """The chord that sounds at a position."""
        for chord in self.chords:
            if chord.start_beat <= beat < chord.start_beat + chord.beats:
                return chord
        return self.chords[-1]

    def scale_pitches(self, low: float, high: float) -> list[int]:
        """The pitches of the key within [low, high]."""
        classes = {(self.tonic + step) % 12 for step in self.scale}
        return [pitch for pitch in range(int(np.ceil(low)), int(high) + 1) if pitch % 12 in classes]


def compose(rng: Generator, seconds: float) -> Score:
    """Draw a song's style, tempo, key, chords and sections."""
    name = str(rng.choice(list(STYLES)))
    style = STYLES[name]
    tempo = float(rng.uniform(*style.tempo_bpm))
    beats_per_bar = style.beats_per_bar
    if name in ("ambient", "folk", "ballad") and rng.random() < 0.2:
        beats_per_bar = 3
    bars = max(1, int(np.ceil(seconds / (beats_per_bar * 60.0 / tempo) - 1e-6)))
    tonic = int(rng.integers(12))
    scale = SCALES[str(rng.choice(style.scales))]
    return Score(
        style=name,
        tempo_bpm=tempo,
        beats_per_bar=beats_per_bar,
        swing=float(rng.uniform(*style.swing)),
        tonic=tonic,
        scale=scale,
        chords=_chords(rng, style, tonic, scale, bars, beats_per_bar),
        sections=_sections(rng, bars),
        seconds=seconds,
    )


def _chords(
    rng: Generator, style: Style, tonic: int, scale: Sequence[int], bars: int, beats_per_bar: int
) -> tuple[Chord, ...]:
    """Repeat a progression over the whole song, with one chord per half, one or two bars."""
    verse = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    chorus = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    pace = float(rng.choice([0.5, 1.0, 2.0], p=[0.15, 0.65, 0.2])) * beats_per_bar
    if beats_per_bar == 3:
        pace = max(pace, 3.0)
    chords: list[Chord] = []
    beat = 0.0
    while beat < bars * beats_per_bar:
        # The second half of a song may go to other chords.
        degrees = verse if beat < 0.5 * bars * beats_per_bar else chorus
        degree = degrees[len(chords) % len(degrees)]
        size = 4 if rng.random() < style.sevenths else 3
        if style.sevenths < 0.3 and rng.random() < 0.08:
            steps = [degree, degree + 3, degree + 4]  # suspended fourth
        else:
            steps = [degree + 2 * third for third in range(size)]
        classes = [(tonic + scale[step % 7]) % 12 for step in steps]
        chords.append(Chord(beat, pace, classes[0], tuple(classes)))
        beat += pace
    return tuple(chords)


def _sections(rng: Generator, bars: int) -> tuple[int, ...]:
    """First bars of sections of one, two or four bars, so that even a short song has some."""
    length = 1 if bars < 4 else 2 if bars < 14 else 4
    starts = list(range(0, bars, length))
    if len(starts) > 3 and rng.random() < 0.5:
        # Sections of unequal length: join two neighbours.
        starts.pop(int(rng.integers(1, len(starts))))
    return (*starts, bars)


def arrange(rng: Generator, score: Score, shares: Sequence[float]) -> list[Array]:
    """Draw which parts play in which bars: one boolean array `(bar,)` per part.

    shares: the least share of bars each part plays. Parts rest in whole sections only; at least one part
    plays in every section.
    """
    spans = list(zip(score.sections[:-1], score.sections[1:], strict=True))
    plays = np.ones((len(shares), len(spans)), dtype=bool)
    sizes = np.array([stop - start for start, stop in spans], dtype=float)
    # The end of the song may cut the last bar short: only its audible length counts.
    heard = score.seconds / (score.beats_per_bar * score.beat_s)
    sizes[-1] = max(0.1, sizes[-1] - (score.bars - heard))
    for part, share in enumerate(shares):
        goal = rng.uniform(share, 1.15)
        for section in rng.permutation(len(spans)):
            left = sizes[plays[part]].sum() - sizes[section]
            if left >= max(goal, share) * sizes.sum():
                plays[part, section] = False
    for section in range(len(spans)):
        if not plays[:, section].any():
            plays[rng.integers(len(shares)), section] = True
    return [np.repeat(row, [stop - start for start, stop in spans]) for row in plays]
