"""Drum patterns by style, with fills, ghost notes and human timing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restem.synth.score import Score
from restem.synth.signals import Array, Generator


@dataclass(frozen=True)
class Hit:
    """One stroke on one drum; velocity in (0, 1]."""

    start_s: float
    drum: str
    velocity: float


Pattern = dict[str, str]

# One bar of sixteenths: X accent, x normal, o soft, g ghost. Shorter bars read the first twelve.
_LEVEL = {"X": 1.0, "x": 0.8, "o": 0.6, "g": 0.3}

_ROCK: list[Pattern] = [
    {"kick": "X.......x.......", "snare": "....X.......X...", "closed": "x.o.x.o.x.o.x.o."},
    {"kick": "X.....x.x.......", "snare": "....X.......X...", "closed": "x.o.x.o.x.o.x.o."},
    {"kick": "X..x..x...x.....", "snare": "....X..g.g..X...", "ride": "x.o.x.o.x.o.x.o."},
    {"kick": "X.x.....x.x.....", "snare": "....X.......X..g", "open": "x...x...x...x..."},
    {"kick": "X.......X.......", "snare": "....X.......X...", "tom_low": "x.x.x.x.x.x.x.x."},
]
_HOUSE: list[Pattern] = [
    {"kick": "X...X...X...X...", "clap": "....x.......x...", "open": "..x...x...x...x."},
    {
        "kick": "X...X...X...X...",
        "snare": "....x.......x...",
        "closed": "x.x.x.x.x.x.x.x.",
        "open": "..x...x...x...x.",
    },
    {
        "kick": "X...X...X...X...",
        "clap": "....x.......x..o",
        "closed": "xgogxgogxgogxgog",
        "shaker": "ogogogogogogogog",
    },
    {"kick": "X...X...X...X...", "rim": "..x..x.x..x..x..", "closed": "..x...x...x...x."},
]
_FUNK: list[Pattern] = [
    {"kick": "X.x....x..x.....", "snare": "....X..g.g..X..g", "closed": "xoxoxoxoxoxoxoxo"},
    {
        "kick": "X..x..x...x..x..",
        "snare": "....X.g..g..X.g.",
        "closed": "x.xxx.xxx.xxx.xx",
        "open": "......x.........",
    },
    {"kick": "X.......x.x.....", "snare": "..g.X..g.g.gX...", "closed": "x.x.x.x.x.x.x.x."},
]
_HIP_HOP: list[Pattern] = [
    {"kick": "X......x..x.....", "snare": "....X.......X...", "closed": "x.x.x.x.x.x.x.x."},
    {"kick": "X..x......xx....", "snare": "....X.......X..g", "closed": "x.xox.x.x.xox.xo"},
    {"kick": "X.x.......x..x..", "clap": "....X.......X...", "shaker": "o.x.o.x.o.x.o.x."},
]
_TRAP: list[Pattern] = [
    {"kick": "X.....x...x.....", "clap": "........X.......", "closed": "xoxoxoxoxoxoxoxo"},
    {
        "kick": "X..x......x...x.",
        "snare": "........X.......",
        "closed": "x.xxx.x.xxxoxoxx",
        "open": "......x.........",
    },
    {
        "kick": "X......x...x....",
        "clap": "........X.....g.",
        "closed": "x.x.x.xxx.x.xxxx",
        "rim": "...x.........x..",
    },
]
_BREAK: list[Pattern] = [
    {"kick": "X.........x.....", "snare": "....X..g.g..X...", "closed": "x.x.x.x.x.x.x.x."},
    {"kick": "X.x.......xx....", "snare": "....X..x.x..X..x", "ride": "x.x.x.x.x.x.x.x."},
    {"kick": "X..x......x.....", "snare": "....X.......X.g.", "closed": "xoxoxoxoxoxoxoxo"},
]
_REGGAE: list[Pattern] = [
    {"kick": "........X.......", "rim": "........x.......", "closed": "x.o.x.o.x.o.x.o."},
    {"kick": "X...X...X...X...", "rim": "........X.......", "closed": "..x...x...x...x."},
]
_LATIN: list[Pattern] = [
    {
        "kick": "X..x....X..x....",
        "clave": "x..x..x...x.x...",
        "conga_high": "..o...x...o.xx..",
        "conga_low": "......x.......xx",
        "shaker": "xoxoxoxoxoxoxoxo",
    },
    {"kick": "X...X...X...X...", "snare": "...x..x....x..x.", "closed": "x.x.x.x.x.x.x.x."},
    {
        "kick": "x..x..x.x..x..x.",
        "cowbell": "x...x.x...x.x.x.",
        "conga_high": "o.x.o.xxo.x.o.xx",
        "bongo": "xoogxoogxoogxoog",
    },
]
_BOSSA: list[Pattern] = [
    {"kick": "x..ox..ox..ox..o", "rim": "x..x..x...x..x..", "closed": "xoxoxoxoxoxoxoxo"},
    {"kick": "x..ox..ox..ox..o", "rim": "..x..x..x..x.x..", "shaker": "xoxoxoxoxoxoxoxo"},
]
_JAZZ: list[Pattern] = [
    {"kick": "g...g...g...g...", "ride": "x...x.o.x...x.o.", "pedal": "....x.......x..."},
    {
        "kick": "......o.........",
        "ride": "x...x.o.x...x.o.",
        "pedal": "....x.......x...",
        "snare": "..g....g......g.",
    },
    {
        "sweep": "x...o...x...o...",
        "snare": "....o.g.....o...",
        "pedal": "....x.......x...",
        "kick": "g.......g.......",
    },
]
_BALLAD: list[Pattern] = [
    {"kick": "X.......x.......", "snare": "....X.......X...", "closed": "x...o...x...o..."},
    {"kick": "X.........x.....", "rim": "....x.......x...", "closed": "x.o.x.o.x.o.x.o."},
    {"kick": "x...............", "shaker": "x.o.x.o.x.o.x.o.", "tambourine": "....x.......x..."},
]
_FOLK: list[Pattern] = [
    {"kick": "X...x...X...x...", "tambourine": "....x.......x...", "shaker": "xoxoxoxoxoxoxoxo"},
    {"kick": "X.......X.......", "snare": "..x.x.x...x.x.x.", "clap": "....o.......o..."},
    {"bongo": "x.oox.o.x.oox.o.", "shaker": "x.x.x.x.x.x.x.x.", "kick": "x.......x......."},
]
_WALTZ: list[Pattern] = [
    {"kick": "X...........", "snare": "....o...o...", "closed": "x...x.o.x..."},
    {"kick": "X.........o.", "rim": "....x...x...", "ride": "x...x...x.o."},
    {"kick": "x.......x...", "snare": "....X.......", "closed": "x.x.x.x.x.x."},
]
_METAL: list[Pattern] = [
    {"kick": "XxxxXxxxXxxxXxxx", "snare": "....X.......X...", "crash": "x...x...x...x..."},
    {"kick": "X.xxX.xxX.xxX.xx", "snare": "....X.......X...", "ride": "x.x.x.x.x.x.x.x."},
    {"kick": "X.x.X.x.X.x.X.x.", "snare": "..X...X...X...X.", "open": "x...x...x...x..."},
]
_PERCUSSION: list[Pattern] = [
    {
        "conga_high": "x..ox.o.x..ox.oo",
        "conga_low": "..x...xx..x...xx",
        "shaker": "xoxoxoxoxoxoxoxo",
    },
    {"bongo": "x.oox.o.x.oox.oo", "cowbell": "x...x...x...x...", "clave": "x..x..x...x.x..."},
    {
        "tom_low": "X..x..x.X..x..x.",
        "tom_high": "..x..x....x..xx.",
        "tambourine": "....x.......x...",
    },
    {"shaker": "x.oox.oox.oox.oo", "clap": "....x.......x...", "rim": "x..x..x...x.x..."},
]

_STYLE_PATTERNS = {
    "rock": _ROCK, "pop": _ROCK + _HOUSE[:2] + _HIP_HOP, "ballad": _BALLAD, "funk": _FUNK,
    "soul": _FUNK + _BALLAD, "jazz": _JAZZ, "blues": _ROCK[:2] + _JAZZ[:1], "house": _HOUSE,
    "disco": _HOUSE[:2], "hip hop": _HIP_HOP, "trap": _TRAP, "drum and bass": _BREAK,
    "reggae": _REGGAE, "latin": _LATIN, "bossa": _BOSSA, "folk": _FOLK, "waltz": _WALTZ,
    "metal": _METAL, "electro": _HOUSE + _BREAK + _TRAP, "ambient": _BALLAD + _FOLK,
}  # fmt: skip


def write_drums(score: Score, active: Array, rng: Generator, kit: str) -> list[Hit]:
    """The hits of a drum part in the bars where `active` `(bar,)` is set, in order of time."""
    patterns = _STYLE_PATTERNS[score.style]
    if kit == "percussion":
        patterns = _PERCUSSION
    if score.beats_per_bar == 3:
        patterns = _WALTZ
    verse = dict(patterns[rng.integers(len(patterns))])
    chorus = dict(patterns[rng.integers(len(patterns))]) if rng.random() < 0.5 else verse
    busy = kit != "percussion" and rng.random() < 0.15
    ornament = 0.3 if busy else float(rng.uniform(0.0, 0.12))
    tightness_s = float(rng.choice([0.0, 0.004, 0.009]))
    lag_s = {drum: float(rng.normal(0.0, tightness_s)) for drum in (*verse, *chorus)}
    # Some drummers leave drums out: a loop of only kick and snare is a drum part, too.
    muted = {drum for drum in verse if rng.random() < 0.08} if len(verse) > 2 else set()
    steps = 4 * score.beats_per_bar
    hits: list[Hit] = []
    firsts = set(score.sections[:-1])
    for bar in (int(bar) for bar in np.flatnonzero(active)):
        pattern = verse if _section_number(score, bar) % 2 == 0 else chorus
        fill_from = steps
        if bar + 1 in score.sections and rng.random() < 0.6:
            fill_from = int(rng.choice([steps // 2, steps - 4, steps - 4, steps - 2]))
        for drum, row in pattern.items():
            if drum in muted:
                continue
            for step in range(steps):
                level = _LEVEL.get(row[step % len(row)], 0.0)
                if level == 0.0 and rng.random() < ornament and drum in ("kick", "snare", "closed"):
                    level = 0.3 if drum == "snare" else 0.45 if rng.random() < 0.4 else 0.0
                if level == 0.0 or (step >= fill_from and drum not in ("kick", "closed")):
                    continue
                if level < 0.9 and rng.random() < 0.04:
                    continue
                velocity = float(np.clip(level * rng.uniform(0.85, 1.1), 0.05, 1.0))
                beat = bar * score.beats_per_bar + step / 4.0
                start_s = score.seconds_at(beat) + lag_s.get(drum, 0.0)
                start_s += float(rng.normal(0.0, tightness_s)) if tightness_s else 0.0
                hits.append(Hit(max(0.0, start_s), drum, velocity))
                if drum == "closed" and score.style == "trap" and rng.random() < 0.1:
                    hits.extend(_roll(score, rng, beat))
        if fill_from < steps:
            hits.extend(_fill(score, rng, bar, fill_from, kit, set(verse)))
        if bar in firsts and kit not in ("percussion", "brushes") and rng.random() < 0.5:
            beat = bar * score.beats_per_bar
            hits.append(Hit(score.seconds_at(beat), "crash", float(rng.uniform(0.6, 1.0))))
    return sorted(hits, key=lambda hit: (hit.start_s, hit.drum))


def _section_number(score: Score, bar: int) -> int:
    return sum(1 for first in score.sections[1:-1] if first <= bar)


def _roll(score: Score, rng: Generator, beat: float) -> list[Hit]:
    """A fast hat roll within a sixteenth, as in trap."""
    count = int(rng.choice([2, 3, 4]))
    gap_s = score.beat_s / 4.0 / count
    start_s = score.seconds_at(beat)
    return [Hit(start_s + k * gap_s, "closed", float(rng.uniform(0.4, 0.8))) for k in range(1, count)]


def _fill(score: Score, rng: Generator, bar: int, first: int, kit: str, used: set[str]) -> list[Hit]:
    """A drum fill that leads into the next section."""
    if kit == "percussion":
        drums = sorted(used)
    elif kit in ("electronic", "808", "lo-fi") and rng.random() < 0.5:
        drums = ["snare"] if "snare" in used or "clap" not in used else ["clap"]
    else:
        drums = ["snare", "tom_high", "tom_mid", "tom_low"]
    steps = 4 * score.beats_per_bar
    density = float(rng.uniform(0.5, 1.0))
    hits = []
    for step in range(first, steps):
        if step == first or rng.random() < density:
            drum = drums[min(len(drums) - 1, (step - first) * len(drums) // max(1, steps - first))]
            beat = bar * score.beats_per_bar + step / 4.0
            velocity = 0.5 + 0.45 * (step - first + 1) / (steps - first)
            hits.append(Hit(score.seconds_at(beat), drum, velocity))
    return hits
