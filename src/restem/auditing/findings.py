"""What an audit finds: a table with one row a finding, in the order of the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import polars as pl

from restem.dataset.table import Stem

Kind = Literal[
    "duplicate", "leak", "mixture", "foreign", "misaligned", "bleed", "short", "clipped", "dead_channel",
    "out_of_phase", "dc", "lowpass", "noise",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)

MEANINGS: Mapping[Kind, str] = {
    "duplicate": "holds the same recording as another stem, wholly or in part",
    "leak": "a duplicate in another split",
    "mixture": "the song's mixture is not the sum of its stems",
    "foreign": "holds none of the classes: noise, hum, clicks or a noise floor alone",
    "misaligned": "starts early or late against the mixture",
    "bleed": "another stem of the song is heard in it",
    "short": "ends before the other stems of its song",
    "clipped": "its peaks are cut off",
    "dead_channel": "one channel is silent where another one is not",
    "out_of_phase": "its channels cancel in mono",
    "dc": "its samples are not centred on zero",
    "lowpass": "nothing lies above a sharp edge in its spectrum, as after lossy coding",
    "noise": "steady noise or hum lies under it",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a stem, or with a song if `stem` is empty.

    value, unit: how much, in the unit named (`dB`, `s`, `ms`, `kHz`, `1`). start_s, end_s: where; None for throughout.
    with_song, with_stem: the other stem, of a duplicate or of bleed.
    """

    song: str
    stem: str
    kind: Kind
    value: float
    unit: str
    message: str
    start_s: float | None = None
    end_s: float | None = None
    with_song: str = ""
    with_stem: str = ""


FINDINGS_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "song": pl.String,
    "stem": pl.String,
    "kind": pl.String,
    "value": pl.Float64,
    "unit": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "with_song": pl.String,
    "with_stem": pl.String,
    "message": pl.String,
}
BLEED_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "song": pl.String,
    "stem": pl.String,
    "from_stem": pl.String,
    "bleed_db": pl.Float64,
    "delay_samples": pl.Int64,
}
MIXTURES_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "song": pl.String,
    "verdict": pl.String,
    "residual_db": pl.Float64,
    "gains": pl.String,
}
BLEED_OVER_TIME_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "song": pl.String,
    "stem": pl.String,
    "from_stem": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "bleed_db": pl.Float64,
}
COPIES_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "stem": pl.String,
    "with_stem": pl.String,
    "start_s": pl.Float64,
    "with_start_s": pl.Float64,
    "seconds": pl.Float64,
}


def findings_table(findings: Iterable[Finding]) -> pl.DataFrame:
    """The table of `findings.csv`."""
    return pl.DataFrame([asdict(one) for one in findings], schema_overrides=FINDINGS_SCHEMA, schema=FINDINGS_SCHEMA)


def shared_recording(
    first: Stem,
    second: Stem,
    share: float,
    what: str,
    when: str = "",
    start_s: float | None = None,
    end_s: float | None = None,
) -> Finding:
    """The finding in the second of two stems that share a recording.

    share: of the sound of the stem that has less. what, when: in words, what it holds of the first, and how much later.
    """
    leak = bool(first.split and second.split and first.split != second.split)
    across = f", of the split {first.split}," if leak else ""
    message = f"holds {what} {first.name}{across}{when}"
    return Finding(
        second.song, second.name, "leak" if leak else "duplicate", round(share, 3), "1", message, start_s, end_s,
        first.song, first.name,
    )  # fmt: skip
