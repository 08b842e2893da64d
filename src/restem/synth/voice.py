"""Singing voices: a glottal source and noise through a time-varying vocal tract.

The tract is a cascade of resonances (Fant's source-filter model; formant values after Peterson and
Barney 1952), applied frame by frame with `signals.moving_filter`. Consonants are intervals of closure,
noise, nasal murmur or glide, written into the control tracks before each vowel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from restem.synth import effects
from restem.synth.lines import melody
from restem.synth.phonemes import CONSONANTS, VOWELS
from restem.synth.score import Note, Score
from restem.synth.signals import (
    CONTROL,
    TABLE_SIZE,
    Array,
    Generator,
    at_frames,
    control_points,
    decibels,
    frame_count,
    frequency_hz,
    harmonic_count,
    hop_length,
    log_uniform,
    moving_filter,
    phase_of,
    read_table,
    resonance_denominator,
    smooth_noise,
    stretch,
    wavetable,
)


@dataclass(frozen=True)
class Singer:
    """The fixed properties of a singer.

    tract: factor of the formant frequencies relative to a man's. tilt: how fast the glottal harmonics fall
    off, as a power. Other levels are relative to the vowel; depths are in semitones.
    """

    tract: float
    tilt: float
    open_quotient: float
    breathiness: float
    consonants: float
    vibrato_depth: float
    vibrato_hz: float
    vibrato_onset_s: float
    glide_s: float
    scoop: float
    bandwidth: float
    roughness: float
    ring_db: float
    staccato: float


# Lowest and highest pitch, and range of the tract factor.
_RANGES = {
    "bass": (38, 58, 0.92, 1.02), "baritone": (43, 64, 0.95, 1.06), "tenor": (48, 69, 1.0, 1.1),
    "alto": (53, 74, 1.1, 1.2), "soprano": (58, 81, 1.14, 1.24), "child": (60, 79, 1.25, 1.4),
}  # fmt: skip


def play_vocals(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Note], Array]:
    """Draw a singer and a vocal part and render them: the lead's notes, and `(2, sample)`."""
    low, high, tract_low, tract_high = _RANGES[str(rng.choice(list(_RANGES)))]
    width = float(rng.uniform(9.0, high - low))
    bottom = float(rng.uniform(low, high - width))
    manner = str(rng.choice(["song", "song", "song", "song", "rap", "vocalise", "choir"]))
    density = {"rap": rng.uniform(0.85, 1.0), "vocalise": rng.uniform(0.1, 0.4)}.get(manner, rng.uniform(0.4, 0.85))
    notes = melody(
        score, active, rng, low=bottom, high=bottom + width, density=float(density),
        breath=float(rng.uniform(0.25, 1.2)),
    )  # fmt: skip
    if manner == "rap":
        notes = _spoken(notes, rng, bottom)
    singer = draw_singer(rng, float(rng.uniform(tract_low, tract_high)))
    words = draw_words(len(notes), manner, rng)
    lead = sing(notes, words, singer, rng, rate_hz, length)
    out = effects.pan(lead, 0.0)
    if manner == "choir":
        copies = [0.0, 0.0]
    elif rng.random() < 0.35:
        copies = [0.0] if rng.random() < 0.6 else [0.0, 0.0]
    else:
        copies = []
    if rng.random() < 0.3 and manner != "rap":
        copies.append(float(rng.choice([2, -3, 4, -5])))
    level = float(rng.uniform(0.3, 0.7)) if manner != "choir" else 0.9
    for number, steps in enumerate(copies[:2]):
        other = draw_singer(rng, singer.tract * float(rng.uniform(0.95, 1.05)))
        line = _harmony(score, notes, steps, rng)
        side = float(rng.uniform(0.2, 0.9)) * (1 if number % 2 else -1)
        out = out + level * effects.pan(sing(line, words, other, rng, rate_hz, length), side)
    return notes, out


def draw_singer(rng: Generator, tract: float) -> Singer:
    """A random singer with a given tract factor."""
    return Singer(
        tract=tract,
        tilt=float(rng.uniform(-0.3, 0.65)),
        open_quotient=float(rng.uniform(0.4, 0.8)),
        breathiness=log_uniform(rng, 0.01, 0.25),
        consonants=log_uniform(rng, 0.6, 2.5),
        vibrato_depth=float(rng.choice([rng.uniform(0.0, 0.15), rng.uniform(0.15, 0.8)])),
        vibrato_hz=float(rng.uniform(4.5, 6.8)),
        vibrato_onset_s=float(rng.uniform(0.1, 0.6)),
        glide_s=log_uniform(rng, 0.008, 0.07),
        scoop=float(rng.uniform(0.0, 2.0)) if rng.random() < 0.6 else 0.0,
        bandwidth=log_uniform(rng, 0.8, 1.8),
        roughness=log_uniform(rng, 0.003, 0.05),
        ring_db=float(rng.uniform(-4.0, 6.0)),
        staccato=float(rng.uniform(0.75, 1.0)),
    )


def draw_words(count: int, manner: str, rng: Generator) -> list[tuple[str, str, str]]:
    """Draw (consonant, vowel, vowel at the end) for each note; a meaningless text with repetitions."""
    vowels, consonants = list(VOWELS), [name for name in CONSONANTS if name]
    if manner in ("vocalise", "choir") and rng.random() < 0.7:
        vowel = str(rng.choice(["a", "o", "u", "uh"]))
        onset = str(rng.choice(["", "", "h", "l", "m", "n", "d"]))
        return [(onset if rng.random() < 0.5 else "", vowel, vowel)] * count
    stock = []
    for _ in range(int(rng.integers(4, 24))):
        vowel = str(rng.choice(vowels))
        ending = str(rng.choice(vowels)) if rng.random() < 0.25 else vowel
        stock.append((str(rng.choice(consonants)) if rng.random() < 0.9 else "", vowel, ending))
    order = rng.integers(0, len(stock), count)
    return [stock[k] for k in order]


def _harmony(score: Score, notes: list[Note], steps: float, rng: Generator) -> list[Note]:
    """A second voice: the same melody some scale steps away (0 doubles it), with slightly different timing."""
    moved = []
    for note in notes:
        pitch = note.pitch
        if steps:
            scale = score.scale_pitches(note.pitch - 12, note.pitch + 12)
            nearest = int(np.argmin([abs(p - note.pitch) for p in scale]))
            pitch = float(scale[int(np.clip(nearest + steps, 0, len(scale) - 1))])
        pitch += float(rng.normal(0.0, 0.08))
        start_s = max(0.0, note.start_s + float(rng.normal(0.0, 0.018)))
        moved.append(Note(start_s, note.seconds, pitch, note.velocity))
    return moved


def _spoken(notes: list[Note], rng: Generator, bottom: float) -> list[Note]:
    """Speech melody: a narrow range that falls over each phrase."""
    spoken = []
    height, last_end = 5.0, -1.0
    for note in notes:
        height = 6.0 if note.start_s - last_end > 0.15 else max(0.0, height - 0.5)
        pitch = bottom + height + float(rng.normal(0.0, 1.2))
        spoken.append(Note(note.start_s, note.seconds, pitch, note.velocity))
        last_end = note.start_s + note.seconds
    return spoken


def sing(
    notes: list[Note],
    words: list[tuple[str, str, str]],
    singer: Singer,
    rng: Generator,
    rate_hz: int,
    length: int,
) -> Array:
    """Render one voice singing `notes` to `words`: `(sample,)` with an RMS near 0.1 in the vowels."""
    if not notes:
        return np.zeros(length)
    tracks = _Tracks(length, rate_hz, singer)
    for number, (note, word) in enumerate(zip(notes, words, strict=True)):
        following = notes[number + 1] if number + 1 < len(notes) else None
        tracks.paint(note, following, *word, rng=rng)
    tracks.smooth()
    voicing = tracks.at_samples("voicing")
    points_per_s, points = rate_hz / CONTROL, control_points(length)
    curve = frequency_hz(_pitch_curve(notes, singer, rng, points, points_per_s))
    curve *= 1.0 + 0.3 * singer.roughness * smooth_noise(rng, points, points_per_s, 60.0)
    frequency = stretch(curve, length)
    shimmer = 1.0 + 2.0 * singer.roughness * smooth_noise(rng, points, points_per_s, 40.0)
    phase = phase_of(frequency, rate_hz)
    source = _glottal_source(notes, phase, singer, rate_hz, length)
    noise = rng.standard_normal(length, dtype=np.float32)
    # Breath noise is strongest while the glottis is open.
    pulse = 0.6 + 0.4 * read_table(wavetable(np.ones(1)).astype(np.float32), phase)
    breath = voicing * singer.breathiness * pulse + 0.15 * tracks.at_samples("breath")
    excitation = source * voicing * stretch(shimmer, length) + noise * breath
    sung = moving_filter(excitation, rate_hz, tracks.tract_response(at_frames(frequency, rate_hz)))
    teeth = moving_filter(noise, rate_hz, tracks.noise_response())
    voiced_rms = np.sqrt(np.sum(sung**2) / (np.sum(voicing**2) + 1.0))
    return np.asarray(0.1 * (sung / (voiced_rms + 1e-9) + singer.consonants * teeth))


def _pitch_curve(notes: list[Note], singer: Singer, rng: Generator, count: int, points_per_s: float) -> Array:
    """The sung pitch, `(count,)`: glides between notes, scoops, delayed vibrato."""
    time = np.arange(count) / points_per_s
    steps = np.full(count, float(notes[0].pitch) if notes else 60.0)
    vibrato = np.zeros(count)
    drift = 0.15 * smooth_noise(rng, count, points_per_s, 3.0)
    last_end = -1.0
    for note in notes:
        start = min(count, int(note.start_s * points_per_s))
        steps[start:] = note.pitch
        stop = min(count, int((note.start_s + note.seconds + 0.1) * points_per_s))
        since = time[: max(0, stop - start)]
        if note.start_s - last_end > 0.1:
            steps[start:stop] -= singer.scoop * np.exp(-since / 0.06)
        vibrato[start:stop] = np.clip((since - singer.vibrato_onset_s) / 0.3, 0.0, 1.0)
        last_end = note.start_s + note.seconds
    width = max(1, int(singer.glide_s * points_per_s))
    glided: Array = ndimage.uniform_filter1d(ndimage.uniform_filter1d(steps, width), width)
    speed = singer.vibrato_hz * (1.0 + 0.06 * smooth_noise(rng, count, points_per_s, 2.0))
    wave = np.sin(2.0 * np.pi * np.cumsum(speed) / points_per_s)
    track: Array = glided + singer.vibrato_depth * vibrato * wave + drift
    return track


def _glottal_source(notes: list[Note], phase: Array, singer: Singer, rate_hz: int, length: int) -> Array:
    """The derivative of Rosenberg's glottal pulse (1971), band-limited note by note."""
    position = np.arange(TABLE_SIZE) / TABLE_SIZE
    opening, closing = 0.7 * singer.open_quotient, 0.3 * singer.open_quotient
    flow = np.where(
        position < opening,
        0.5 * (1.0 - np.cos(np.pi * position / opening)),
        np.where(
            position < opening + closing,
            np.cos(0.5 * np.pi * (position - opening) / closing), 0.0,
        ),
    )  # fmt: skip
    number = np.arange(TABLE_SIZE // 2 + 1)
    spectrum = fft.rfft(flow) * number / np.maximum(number, 1.0) ** singer.tilt
    out = np.zeros(length, dtype=np.float32)
    # A table holds as many harmonics as its notes allow; the phase is continuous, so switching does not click.
    edges = [0, *(min(length, int(note.start_s * rate_hz)) for note in notes[1:]), length]
    tables: dict[int, Array] = {}
    for note, start, stop in zip(notes, edges[:-1], edges[1:], strict=True):
        count = harmonic_count(float(frequency_hz(note.pitch + 1.0)), rate_hz, 12000.0)
        count = min(count, TABLE_SIZE // 2 - 1)
        if count not in tables:
            kept = spectrum * (number <= count)
            table = fft.irfft(kept)
            table = np.append(table, table[0]) / (np.sqrt(np.mean(table**2)) + 1e-12)
            tables[count] = table.astype(np.float32)
        out[start:stop] = read_table(tables[count], phase[start:stop])
    return out


class _Tracks:
    """The control tracks of one voice, one value for each frame of `moving_filter`."""

    def __init__(self, length: int, rate_hz: int, singer: Singer) -> None:
        count = frame_count(length, rate_hz)
        self.length, self.rate_hz, self.singer = length, rate_hz, singer
        self.frame_s = hop_length(rate_hz) / rate_hz
        self.voicing, self.breath, self.noise = np.zeros(count), np.zeros(count), np.zeros(count)
        self.noise_hz, self.noise_width = np.full(count, 4000.0), np.ones(count)
        self.formants = np.tile(np.array([[500.0], [1500.0], [2500.0]]), (1, count))

    def paint(
        self,
        note: Note,
        following: Note | None,
        onset: str,
        vowel: str,
        ending: str,
        *,
        rng: Generator,
    ) -> None:
        """Write one syllable into the tracks: the consonant ends where the note starts."""
        consonant = CONSONANTS[onset]
        seconds = consonant.seconds * float(rng.uniform(0.7, 1.3))
        # Before a short note, a consonant lasts at most half as long as the note, but at least 30 ms.
        seconds = min(seconds, max(0.03, 0.5 * note.seconds)) if seconds else 0.0
        end_s = note.start_s + note.seconds * self.singer.staccato
        if following is not None and following.start_s - end_s < 0.12:
            end_s = max(end_s, following.start_s)  # legato within a phrase
        first, start, stop = (
            min(int(time / self.frame_s), len(self.voicing))
            for time in (max(0.0, note.start_s - seconds), note.start_s, end_s)
        )
        span = slice(start, stop)
        target = np.array(VOWELS[vowel])
        self.formants[:, start:] = target[:, None]
        if ending != vowel and stop - start > 8:
            half = (start + stop) // 2
            ramp = np.linspace(0.0, 1.0, stop - half)
            end = np.array(VOWELS[ending])[:, None]
            self.formants[:, half:stop] = target[:, None] + ramp * (end - target[:, None])
        swell = 1.0 - 0.25 * np.linspace(-1.0, 1.0, stop - start) ** 2
        level = 0.35 + 0.65 * note.velocity
        self.voicing[span] = level * swell
        self.breath[span] = 0.0
        self.noise[span] = 0.0
        if first == start:
            return
        before = slice(first, start)
        self.voicing[before] = consonant.voicing * level
        self.breath[before] = consonant.breath * level
        noise_from = max(first, start - max(1, int(0.015 / self.frame_s))) if consonant.burst else first
        self.noise[before] = 0.0
        self.noise[noise_from:start] = consonant.noise * level
        self.noise_hz[before], self.noise_width[before] = consonant.noise_hz, consonant.noise_width
        if consonant.formants is not None:
            self.formants[:, before] = np.array(consonant.formants)[:, None]

    def smooth(self) -> None:
        """Smooth the tracks, as the inertia of tract and breath does."""
        self.formants = ndimage.uniform_filter1d(self.formants, max(1, int(0.05 / self.frame_s)), axis=1)
        for name, seconds in (("voicing", 0.03), ("breath", 0.03), ("noise", 0.012)):
            width = max(1, int(seconds / self.frame_s))
            setattr(self, name, ndimage.uniform_filter1d(getattr(self, name), width))

    def at_samples(self, name: str) -> Array:
        """A track as `(sample,)` float32."""
        track = getattr(self, name)
        return stretch(track.astype(np.float32), self.length, hop_length(self.rate_hz))

    def tract_response(self, frequency: Array) -> Callable[[Array], Array]:
        """The time-varying cascade of formants, for `moving_filter`."""
        singer = self.singer
        centres = (self.formants * singer.tract).astype(np.float32)
        # Singers raise the first formant with the pitch rather than lose the fundamental.
        centres[0] = np.maximum(centres[0], 1.05 * frequency)
        centres[1] = np.maximum(centres[1], centres[0] + 250.0)
        centres[2] = np.maximum(centres[2], centres[1] + 250.0)
        widths = singer.bandwidth * np.array([70.0, 90.0, 140.0], dtype=np.float32)
        ring = decibels(singer.ring_db)
        count = centres.shape[1]

        def response(bins: Array) -> Array:
            product = resonance_denominator(bins, centres[0], np.full(count, widths[0]))
            for centre, width in zip(centres[1:], widths[1:], strict=True):
                product *= resonance_denominator(bins, centre, np.full(count, width))
            # Higher formants are constant; without them the cascade falls off too fast.
            still = np.ones(len(bins), dtype=np.complex64)
            for number in range(4, 9):
                centre = 1000.0 * (number - 0.5) * singer.tract
                width = singer.bandwidth * 55.0 * number
                still *= centre**2 / (centre**2 - bins * bins + np.complex64(1j) * bins * width)
            bump = 1.0 + (ring - 1.0) * np.exp(-(((bins - 3000.0 * singer.tract) / 600.0) ** 2))
            return np.asarray((0.1 * still * bump)[None, :] / product)

        return response

    def noise_response(self) -> Callable[[Array], Array]:
        """The time-varying band of frication noise, for `moving_filter`."""
        level, centre, width = (
            np.asarray(track, dtype=np.float32)[:, None] for track in (self.noise, self.noise_hz, self.noise_width)
        )

        def response(bins: Array) -> Array:
            octaves = np.log2(np.maximum(bins, 20.0))[None, :] - np.log2(centre)
            return np.asarray(level * np.exp(-((octaves / (0.6 * width)) ** 2)))

        return response
