"""What a run found, in tables and in the terminal."""

import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from restem.cli.terminal import NOT_OUT_OF_FOLD, WORST, print_summary
from restem.dataset.table import within_song
from restem.runs.findings import (
    REST,
    ClassFinding,
    SongFinding,
    class_findings,
    confusion,
    songs_to_look_at,
    verdict_counts,
)
from restem.runs.run import Run
from restem.runs.tables import labels_schema
from restem.taxonomy import Taxonomy
from restem.wording import EMPTY, printable, shortened

TAXONOMY = Taxonomy()


def labels_of(*rows: tuple[str, str, str, str, str, float | None]) -> pl.DataFrame:
    """A labels table of `(song, stem, given, refined, verdict, quality)`."""
    return pl.DataFrame(
        [(*row, *[None] * len(TAXONOMY), 4.0, 3.0) for row in rows], schema=labels_schema(TAXONOMY), orient="row"
    )


def summary(labels: pl.DataFrame, width: int = 100, colour: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=colour)
    print_summary(Run(Path("/run"), TAXONOMY, {"dataset": {"root": "/d"}}, labels), console)
    return console.file.getvalue()  # type: ignore[attr-defined]


FOUND = labels_of(
    ("a", "a/drums.wav", "drums", "drums+bass", "changed", 0.1),
    ("a", "a/bass.wav", "bass", "", "silent", 0.0),
    ("a", "a/vocals.wav", "vocals", "vocals", "unsure", 0.4),
    ("b", "b/drums.wav", "drums", "drums", "kept", 0.9),
    ("b", "b/bass.wav", "bass", "vocals", "changed", 0.2),
    ("c", "c/other.wav", "other", "other", "failed", None),
)


def test_findings() -> None:
    assert verdict_counts(FOUND) == {"kept": 1, "changed": 2, "unsure": 1, "silent": 1, "failed": 1}
    assert class_findings(FOUND, TAXONOMY) == [
        ClassFinding("vocals", 1, 2, 1, 0),
        ClassFinding("drums", 2, 2, 0, 0),
        ClassFinding("bass", 2, 1, 1, 2),
        ClassFinding("other", 1, 1, 0, 0),
    ]
    assert songs_to_look_at(FOUND) == [SongFinding("a", 3, 2, 1)]


def test_confusion() -> None:
    found = confusion(FOUND, TAXONOMY)
    assert found.rows == ("vocals", "drums", "bass")
    assert found.columns == ("vocals", "drums", "drums+bass", EMPTY)
    assert found.counts == ((1, 0, 0, 0), (0, 1, 1, 0), (1, 0, 0, 1))
    assert found.failed == 1


def test_confusion_gathers_the_rarest() -> None:
    refined = ["vocals", "drums", "bass", "other", "drums+bass", "vocals+other", ""]
    rows = [
        ("s", f"{i}-{j}-{k}", given, after, "changed", 0.1)
        for i, given in enumerate(["vocals", "drums", "bass", "other"])
        for j, after in enumerate(refined)
        for k in range(j + 1)
    ]
    found = confusion(labels_of(*rows), TAXONOMY, most=4)
    # Of both axes together: 28 + 4 (j + 1) stems of each class, 4 (j + 1) of the others.
    assert found.rows == found.columns == ("drums", "bass", "other", REST)
    assert found.counts == ((2, 3, 4, 19),) * 4
    assert sum(map(sum, found.counts)) == len(rows)
    whole = confusion(labels_of(*rows), TAXONOMY)
    assert whole.columns == ("vocals", "drums", "bass", "other", "vocals+other", "drums+bass", EMPTY)
    assert whole.counts == ((1, 2, 3, 4, 6, 5, 7),) * 4


def test_a_summary_shows_verdicts_classes_and_the_worst() -> None:
    output = summary(FOUND)
    assert "6 stems in 3 songs" in output
    assert "drums → drums+bass" in output
    assert "bass → nothing" in output
    assert output.index("bass → nothing") < output.index("drums → drums+bass")
    assert "1 stem could not be read" in output


def test_a_summary_ends_with_the_stems_that_are_not_kept() -> None:
    output = summary(FOUND)
    worst = output[output.index("4 stems not kept") :]
    assert sum(f"{stem}.wav" in worst for stem in ("drums", "bass", "vocals")) == 3
    assert "0.900" not in output  # of the stem that is kept
    assert "not kept" not in summary(FOUND.filter(pl.col("verdict") == "kept"))


@pytest.mark.parametrize("out_of_fold", [True, False])
def test_qualities_that_are_too_high_are_said_to_be(out_of_fold: bool) -> None:
    console = Console(file=io.StringIO(), width=60)
    print_summary(Run(Path("/run"), TAXONOMY, {"dataset": {"root": "/d"}, "out_of_fold": out_of_fold}, FOUND), console)
    assert (NOT_OUT_OF_FOLD in console.file.getvalue()) is not out_of_fold  # type: ignore[attr-defined]


def test_only_the_worst_are_listed() -> None:
    rows = [("s", f"s/{i:03}.wav", "drums", "bass", "changed", i / 100) for i in range(60)]
    output = summary(labels_of(*rows))
    assert sum(f"{i:03}.wav" in output for i in range(60)) == WORST
    assert f"The {WORST} worst of 60 stems not kept" in output


def test_an_empty_run() -> None:
    assert "0 stems" in summary(labels_of())


@pytest.mark.parametrize(
    "stem", ["[red]drums[/red].wav", "[/].wav", "[link=file:///x]a.wav", "a\\[b].wav", ":bomb:.wav"]
)
def test_markup_in_names_is_printed_literally(stem: str) -> None:
    assert stem in summary(labels_of(("s", f"s/{stem}", "drums", "bass", "changed", 0.1)))


def test_names_cannot_command_the_terminal() -> None:
    output = summary(labels_of(("\x1b]0;x\x07", "s/a\x1b[2J\nb\r.wav", "drums", "bass", "changed", 0.1)), colour=True)
    assert "\x1b[2J" not in output
    assert "\x1b]0" not in output
    assert "a\\x1b[2J\\nb\\r.wav" in output


@pytest.mark.parametrize("width", [50, 80, 120])
def test_long_names_fit(width: int) -> None:
    song = "A very long name of a song that goes on and on " * 3
    output = summary(labels_of((song, f"{song}/{'long ' * 30}take.wav", "drums", "bass", "changed", 0.1)), width)
    assert max(map(len, output.splitlines())) <= width
    assert "0.100" in output
    if width >= 80:
        assert "take.wav" in output
        assert "drums → bass" in output


def test_names() -> None:
    assert printable("Größe 語\u3000é") == "Größe 語\u3000é"
    assert printable("a\u202egnp.wav\x00") == "a\\u202egnp.wav\\x00"
    assert within_song("a", "a/b.wav") == "b.wav"
    assert within_song("a", "ab/b.wav") == "ab/b.wav"
    assert [len(shortened("drums of the chorus.wav", width)) for width in (1, 3, 10, 30)] == [1, 3, 10, 23]
    assert shortened("drums of the chorus.wav", 12).endswith("rus.wav")
