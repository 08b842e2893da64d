"""The picture of one stem: what is drawn where, gaps, and thinning."""

import re

import numpy as np
import polars as pl
import pytest

from restem.review.rendering import environment
from restem.review.timeline import MOST_POINTS, MOST_TICKS, SIZES, WIDTH, curves, picture, ticks
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("drums", "bass"))
DRUMS, BASS = frozenset({"drums"}), frozenset({"bass"})


def segments(
    starts: list[float], drums: list[float | None], length_s: float = 3.0, level: list[float | None] | None = None
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "start_s": starts,
            "end_s": [start + length_s for start in starts],
            "level_db": level or [-20.0] * len(starts),
            "drums": drums,
            "bass": [0.0] * len(starts),
        },
        schema_overrides={"drums": pl.Float32, "level_db": pl.Float32},
    )


def draw(table: pl.DataFrame) -> str:
    plot = picture(table, TAXONOMY, DRUMS, BASS, {"drums": 0.1, "bass": None})
    return environment().get_template("plot.html").render(plot=plot, sizes=SIZES)


def corners(html: str, css: str) -> list[list[tuple[int, int]]]:
    """The corners of the areas that a path draws, as absolute points; commands used: M V l z."""
    path = re.search(rf'<path class="{css}" d="([^"]*)"', html)
    assert path
    areas = []
    for part in path[1].split("z")[:-1]:
        found = re.fullmatch(r"M(-?\d+) (-?\d+)V(-?\d+)l([\d -]*)V(-?\d+)", part)
        assert found, part
        x, base, y = int(found[1]), int(found[2]), int(found[3])
        points = [(x, base), (x, y)]
        steps = [int(number) for number in re.findall(r"-?\d+", found[4])]
        for dx, dy in zip(steps[::2], steps[1::2], strict=True):
            points.append((points[-1][0] + dx, points[-1][1] + dy))
        assert int(found[5]) == base
        areas.append(points)
    return areas


def test_one_segment_is_a_block() -> None:
    (area,) = corners(draw(segments([0.0], [1.0])), "c0")
    assert [x for x, _ in area] == [0, 0, WIDTH]
    assert area[1][1] == area[2][1] < area[0][1]


def test_segments_are_drawn_at_their_centres() -> None:
    (area,) = corners(draw(segments([0.0, 1.0, 2.0], [0.0, 1.0, 0.0])), "c0")
    # 5 s in all, the peak at 2.5 s.
    peak = min(area, key=lambda point: point[1])
    assert peak[0] == WIDTH / 2
    assert area[-1][0] == WIDTH


def test_missing_scores_leave_a_gap() -> None:
    html = draw(segments([0.0, 1.0, 2.0, 3.0], [0.5, None, 0.5, 0.5]))
    assert len(corners(html, "c0")) == 2
    assert len(corners(html, "c1")) == 1
    assert corners(draw(segments([0.0, 1.0], [None, None])), "c0") == []


def test_a_hole_in_time_leaves_a_gap() -> None:
    first, second = corners(draw(segments([0.0, 17.0], [0.5, 0.5])), "c0")
    assert first[-1][0] == round(3 / 20 * WIDTH)
    assert second[0][0] == round(17 / 20 * WIDTH)


def test_values_beyond_the_scale_stay_in_the_strip() -> None:
    html = draw(segments([0.0, 1.0, 2.0], [2.0, -1.0, 0.5], level=[3.0, -200.0, float("-inf")]))
    for css in ("level", "c0"):
        (area,) = corners(html, css)
        assert min(y for _, y in area) >= 0
        assert max(y for _, y in area) == area[0][1]


def test_a_missing_level_does_not_matter() -> None:
    assert corners(draw(segments([0.0, 1.0], [0.5, 0.5], level=[None, None])), "level") == []


@pytest.mark.parametrize("count", [1, 299, 300, 301, 7200])
def test_long_stems_are_thinned_and_keep_their_peaks(count: int) -> None:
    rng = np.random.default_rng(count)
    scores = rng.random(count) * 0.5
    scores[count // 2] = 0.99
    points = curves(segments(list(map(float, range(count))), scores.tolist()), TAXONOMY)
    assert len(points.start_s) <= MOST_POINTS
    assert points.scores[:, 0].max() == pytest.approx(0.99)
    assert (points.start_s[0], points.end_s[-1]) == (0, count + 2)


def test_thinning_ignores_missing_values_beside_others() -> None:
    scores: list[float | None] = [None, 0.5] * 300
    points = curves(segments(list(map(float, range(600))), scores), TAXONOMY)
    assert np.isfinite(points.scores[:, 0]).all()


def test_unordered_segments_are_drawn_in_order() -> None:
    table = segments([0.0, 1.0, 2.0, 3.0], [0.1, 0.9, 0.4, 0.2])
    assert draw(table.reverse()) == draw(table)


@pytest.mark.parametrize("length_s", [0.02, 0.5, 2.9, 16, 59, 61, 245, 3600, 7200, 200_000])
def test_ticks_are_few_and_within(length_s: float) -> None:
    found = ticks(length_s)
    assert found[0] == 0
    assert 1 <= len(found) <= MOST_TICKS + 1
    assert found[-1] <= length_s + 1e-6
    if length_s > 1:
        assert len(found) >= 3


def test_what_became_of_each_label_is_said() -> None:
    html = draw(segments([0.0], [0.5]))
    assert "<b>0.10</b> <del>removed</del>" in html
    assert "<b>–</b> <ins>added</ins>" in html
