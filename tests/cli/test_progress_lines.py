"""Progress in a pipe: a line every tenth or every 30 s, and where resumed work goes on."""

from __future__ import annotations

from restem.cli.progress_lines import ProgressLines


def lines(done: list[int], seconds_each: float, total: int = 100) -> list[str]:
    said: list[str] = []
    now = 0.0
    show = ProgressLines(said.append, lambda: now)
    for units in done:
        show("training", units, total)
        now += seconds_each
    return said


def test_quick_work_gets_one_line() -> None:
    assert lines(list(range(101)), 0.01) == ["training ..."]


def test_a_line_every_tenth_of_the_work_with_the_time_left() -> None:
    said = lines(list(range(101)), 1.0)
    assert len(said) == 11
    assert said[:2] == ["training ...", "training: 10 % (10 of 100), 0:10 so far, 1:30 left"]
    assert said[-1] == "training: done, 1:40"


def test_slow_work_gets_a_line_every_half_minute() -> None:
    said = lines([0, 1, 2, 3], 20.0)
    assert said == ["training ...", "training: 2 % (2 of 100), 0:40 so far, 32:40 left"]


def test_work_that_goes_on_says_from_where() -> None:
    said = lines([40, 50, 60], 5.0)
    assert said == [
        "training goes on from 40 % ...",
        "training: 50 % (50 of 100), 0:05 so far, 0:25 left",
        "training: 60 % (60 of 100), 0:10 so far, 0:20 left",
    ]


def test_the_first_unit_is_not_earlier_work() -> None:
    assert lines([1, 2, 3], 0.1)[0] == "training ..."


def test_nothing_to_do() -> None:
    assert lines([0, 0], 5.0, total=0) == ["training ..."]


def test_a_stage_that_comes_again_is_timed_from_its_own_beginning() -> None:
    said = lines([0, 50, 100, 0, 50, 100], 10.0)
    assert said[3:] == ["training ...", "training: 50 % (50 of 100), 0:10 so far, 0:10 left", "training: done, 0:20"]
