"""One stem over time as a picture: its level and, strip by strip, the probability of each class.

All strips share the time axis. The curves are an SVG that is stretched to whatever width there is; the words are HTML
beside and below it (`templates/plot.html`), so that they keep their size on a narrow screen. A segment is drawn at its
centre; the first and last one reach to where they start and end, so that a stem of one segment is a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from restem.taxonomy import LabelSet, Taxonomy

MOST_POINTS = 300  # a card is about 300 pixels wide: more points would only make the file bigger
QUIETEST_DB = -60.0  # the bottom of the level strip, the same in all pictures so that they compare
WIDTH = 1000  # of the drawing, in its own units; the page stretches it to any width
UNITS_PER_PIXEL = 2  # vertical; whole numbers keep the file small, half pixels keep the curves smooth
LEVEL_HEIGHT, STRIP_HEIGHT, STRIP_GAP, AXIS_HEIGHT = 36, 22, 6, 18  # pixels
COLOURS = 16  # of the palette in report.css; the class after the last has the colour of the first again
SIZES: Mapping[str, int] = {
    "level": LEVEL_HEIGHT, "strip": STRIP_HEIGHT, "gap": STRIP_GAP, "axis": AXIS_HEIGHT, "colours": COLOURS,
}  # fmt: skip
"""What the pictures and the words beside them must agree on, for templates and the style sheet."""

TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
MOST_TICKS = 5
SHORTEST_S = 0.001  # of an axis: a stem of one sample still has one
LEAST_HOLE_S = 0.01  # segments that only miss each other by a rounding error are neighbours

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """The values that are drawn of one stem.

    start_s, end_s: (point,). level_db: (point,). scores: (point, class). NaN where there is no value.
    """

    start_s: Values
    end_s: Values
    level_db: Values
    scores: Values


@dataclass(frozen=True)
class Strip:
    """One class in a picture.

    score: of the whole stem, None where it has none. became: `added`, `removed`, `given` or nothing, what happened to
    the label. path: the curve, in the units of the picture.
    """

    name: str
    score: float | None
    became: str
    path: str


@dataclass(frozen=True)
class Plot:
    """The picture of one stem: `WIDTH` units wide, `height_px` pixels high. grid, level, half: paths in its units."""

    length_s: float
    ticks_s: list[float]
    height_px: int
    level: str
    strips: list[Strip]
    grid: str
    half: str

    @property
    def view_box(self) -> str:
        """The extent of the drawing, as SVG has it."""
        return f"0 0 {WIDTH} {self.height_px * UNITS_PER_PIXEL}"


def curves(segments: pl.DataFrame, taxonomy: Taxonomy) -> Curves:
    """The curves of one stem's segments (see `segments.parquet` in `restem.runs.run`), at most `MOST_POINTS` points.

    Where several neighbours share a point, it has their highest level and scores, so that nothing that sounds for a
    moment gets lost.
    """
    segments = segments.sort("start_s")
    columns = ["start_s", "end_s", "level_db", *taxonomy.classes]
    # (segment, column)
    values = segments.select(pl.col(columns).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    first = np.arange(0, len(values), -(-len(values) // MOST_POINTS) or 1)
    if len(first) < len(values):
        highest = np.fmax.reduceat(values, first, axis=0)  # ignores NaN beside a number
        values = np.column_stack([values[first, 0], highest[:, 1:]])
    return Curves(values[:, 0], values[:, 1], values[:, 2], values[:, 3:])


def picture(
    segments: pl.DataFrame,
    taxonomy: Taxonomy,
    given: LabelSet,
    refined: LabelSet,
    scores: Mapping[str, float | None],
) -> Plot:
    """The picture of one stem.

    segments: the stem's rows of `segments.parquet`, at least one. scores: the stem's own score of each class.
    """
    points = curves(segments, taxonomy)
    length_s = max(float(points.end_s.max()), SHORTEST_S)
    ticks_s = ticks(length_s)
    bottoms = [LEVEL_HEIGHT + (i + 1) * (STRIP_GAP + STRIP_HEIGHT) for i in range(len(taxonomy))]
    height = bottoms[-1]
    loudness = np.clip(1 - points.level_db / QUIETEST_DB, 0, 1)
    strips = [
        Strip(
            name,
            scores.get(name),
            _became(name, given, refined),
            _area(points, np.clip(points.scores[:, i], 0, 1), bottom, STRIP_HEIGHT, length_s),
        )
        for i, (name, bottom) in enumerate(zip(taxonomy.classes, bottoms, strict=True))
    ]
    verticals = (f"M{round(at_s / length_s * WIDTH)} 0V{height * UNITS_PER_PIXEL}" for at_s in ticks_s)
    baselines = (f"M0 {bottom * UNITS_PER_PIXEL}H{WIDTH}" for bottom in (LEVEL_HEIGHT, *bottoms))
    halves = (f"M0 {round((bottom - STRIP_HEIGHT / 2) * UNITS_PER_PIXEL)}H{WIDTH}" for bottom in bottoms)
    return Plot(
        length_s,
        ticks_s,
        height,
        level=_area(points, loudness, LEVEL_HEIGHT, LEVEL_HEIGHT, length_s),
        strips=strips,
        grid="".join((*verticals, *baselines)),
        half="".join(halves),
    )


def _became(name: str, given: LabelSet, refined: LabelSet) -> str:
    if name in given:
        return "given" if name in refined else "removed"
    return "added" if name in refined else ""


def ticks(length_s: float) -> list[float]:
    """The times to write under an axis of `length_s` seconds: round ones, at most `MOST_TICKS` + 1, from 0."""
    step = next((step for step in TICK_STEPS_S if length_s / step <= MOST_TICKS), length_s / MOST_TICKS)
    return [step * i for i in range(int(length_s / step + 1e-6) + 1)]


def _area(points: Curves, fraction: Values, bottom: int, height: int, length_s: float) -> str:
    """The path of the area under `fraction` (point,), 0 to 1 of `height` pixels above `bottom`; NaN leaves a gap."""
    centre_s = (points.start_s + points.end_s) / 2
    base = bottom * UNITS_PER_PIXEL
    path = []
    for run in _unbroken(points, fraction):
        times = np.concatenate([[points.start_s[run.start]], centre_s[run], [points.end_s[run.stop - 1]]])
        values = np.concatenate([[fraction[run.start]], fraction[run], [fraction[run.stop - 1]]])
        x = np.rint(np.clip(times / length_s, 0, 1) * WIDTH).astype(int)
        y = np.rint(base - values * height * UNITS_PER_PIXEL).astype(int)
        # Points within a level stretch are left out. Steps lead from one rounded point to the next, so that rounding
        # errors do not add up.
        corner = np.ones(len(y), dtype=bool)
        corner[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
        x, y = x[corner], y[corner]
        steps = " ".join(f"{dx} {dy}" for dx, dy in zip(np.diff(x), np.diff(y), strict=True))
        path.append(f"M{x[0]} {base}V{y[0]}l{steps}V{base}z".replace(" -", "-"))
    return "".join(path)


def _unbroken(points: Curves, fraction: Values) -> Iterator[slice]:
    """The stretches of points that have a value and follow one another without a hole in time."""
    there = np.isfinite(fraction)
    hole = points.start_s[1:] > points.end_s[:-1] + LEAST_HOLE_S
    breaks = ~there[1:] | ~there[:-1] | hole
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(fraction)]
    for start, stop in pairwise(edges):
        if start < stop and there[start]:
            yield slice(start, stop)
