"""Drum parts: a drum kit, a pattern for it, and its performance."""

from __future__ import annotations

import numpy as np

from restem.synth import effects
from restem.synth.drumkit import KITS, build_kit
from restem.synth.rhythm import Hit, write_drums
from restem.synth.score import Score
from restem.synth.signals import Array, Generator, add_at, decibels, log_uniform


def play_drums(score: Score, active: Array, rng: Generator, rate_hz: int, length: int) -> tuple[list[Hit], Array]:
    """Draw a kit and a drum part for the played bars and render them: the hits, and `(2, sample)`."""
    kit = str(rng.choice(KITS))
    if score.style in ("trap", "electro", "house") and rng.random() < 0.6:
        kit = str(rng.choice(["electronic", "808"]))
    if score.style in ("jazz", "bossa") and rng.random() < 0.4:
        kit = "brushes"
    hits = write_drums(score, active, rng, kit)
    return hits, render_hits(hits, kit, rng, rate_hz, length)


def render_hits(hits: list[Hit], kit: str, rng: Generator, rate_hz: int, length: int) -> Array:
    """Render hits on a kit of one of `KITS`: `(2, sample)`."""
    sounds = build_kit(sorted({hit.drum for hit in hits}), kit, rng, rate_hz)
    mono_kit = rng.random() < 0.2
    width = 0.0 if mono_kit else float(rng.uniform(0.2, 0.9))
    mirrored = 1.0 if rng.random() < 0.5 else -1.0
    balance = {drum: decibels(float(rng.normal(0.0, 2.5))) for drum in sounds}
    out: Array = np.zeros((2, length), dtype=np.float32)
    chokes = _chokes(hits)
    by_drum: dict[str, Array] = {}
    for number, hit in enumerate(hits):
        sound = sounds[hit.drum][rng.integers(len(sounds[hit.drum]))]
        if number in chokes:
            gap = max(1, int((chokes[number] - hit.start_s) * rate_hz))
            sound = sound[: gap + int(0.01 * rate_hz)].copy()
            sound[gap:] *= np.linspace(1.0, 0.0, len(sound[gap:]))
        track = by_drum.setdefault(hit.drum, np.zeros(length, dtype=np.float32))
        loudness = balance[hit.drum] * hit.velocity**1.6
        add_at(track, sound * np.float32(loudness), int(hit.start_s * rate_hz))
    for drum, track in by_drum.items():
        place = mirrored * width * _PLACES.get(drum, 0.0)
        out += effects.pan(track, place).astype(np.float32)
    if kit == "lo-fi":
        steps = float(rng.choice([24.0, 48.0, 96.0]))
        peak = float(np.abs(out).max()) + 1e-9
        out = np.round(out / peak * steps) / steps * peak
        out = effects.lowpass(out, rate_hz, log_uniform(rng, 3000.0, 9000.0), 2)
    if rng.random() < 0.4 and kit not in ("brushes",):
        out = effects.drive(out, log_uniform(rng, 0.5, 4.0))
    return np.asarray(out)


_PLACES = {
    "closed": 0.5, "open": 0.5, "pedal": 0.5, "ride": -0.6, "crash": 0.7, "tom_high": 0.4,
    "tom_mid": 0.0, "tom_low": -0.6, "shaker": -0.5, "tambourine": 0.6, "conga_high": 0.4,
    "conga_low": 0.2, "cowbell": -0.3, "clave": -0.7, "rim": 0.15, "bongo": -0.4,
}  # fmt: skip

_CHOKED_BY = {"open": ("closed", "open", "pedal"), "kick": ("kick",)}
"""Choke groups: drum -> the drums whose next hit silences it (the open hi-hat, and the kick itself)."""


def _chokes(hits: list[Hit]) -> dict[int, float]:
    """The time at which each choked hit is cut off, by the index of the hit."""
    following: dict[int, float] = {}
    upcoming: dict[str, float] = {}
    for number in range(len(hits) - 1, -1, -1):
        hit = hits[number]
        ends = [upcoming[drum] for drum in _CHOKED_BY.get(hit.drum, ()) if drum in upcoming]
        if ends:
            following[number] = min(ends)
        upcoming[hit.drum] = hit.start_s
    return following
