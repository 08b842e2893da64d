"""The tables of a run, and its description: their columns, and how they are read back with checks.

They are files that people open, edit and send each other, so whatever is in them is checked once, here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from restem.dataset.table import check_relative
from restem.errors import RestemError, RunError
from restem.files import read_json
from restem.taxonomy import Taxonomy
from restem.verdicts import VERDICTS

_REMEDY = "run `restem refine` again"

# Scores are written with six decimals.
_ROUNDING = 1e-6
_LONGEST_S = 1e7  # more than a hundred days


def labels_schema(taxonomy: Taxonomy) -> dict[str, type[pl.DataType]]:
    """The columns of `labels.csv` and their types, in order."""
    return {
        "song": pl.String,
        "stem": pl.String,
        "given": pl.String,
        "refined": pl.String,
        "verdict": pl.String,
        "quality": pl.Float64,
        **dict.fromkeys(taxonomy.classes, pl.Float64),
        "seconds": pl.Float64,
        "active_seconds": pl.Float64,
    }


def segments_schema(taxonomy: Taxonomy) -> dict[str, type[pl.DataType]]:
    """The columns of `segments.parquet` and their types, in order."""
    return {
        "song": pl.String,
        "stem": pl.String,
        "start_s": pl.Float64,
        "end_s": pl.Float64,
        "level_db": pl.Float32,
        **dict.fromkeys(taxonomy.classes, pl.Float32),
    }


def read_description(path: Path) -> dict[str, Any]:
    """Reads `run.json`; raises FileNotFoundError without it, and RunError when it is not the description of a run."""
    try:
        description = read_json(path)
        dataset = description["dataset"]
        if not (isinstance(dataset["root"], str) and dataset["root"] and "\0" not in dataset["root"]):
            raise ValueError("the root of the dataset is not a path")
        if not isinstance(dataset["classes"], list) or not isinstance(dataset["aliases"], dict):
            raise ValueError("classes is not a list, or aliases not a table")
        if not all(isinstance(name, str) for name in [*dataset["classes"], *dataset["aliases"].values()]):
            raise ValueError("a class is not a word")
        Taxonomy(tuple(dataset["classes"]), dataset["aliases"])
        for key, kind in (("settings", dict), ("failures", dict), ("decisions", list), ("licence", str)):
            if not isinstance(description.get(key, kind()), kind):
                raise ValueError(f"{key} is {type(description[key]).__name__}")
        if not isinstance(dataset.get("unclassed", 0), int):
            raise ValueError("unclassed is not a number")
        if not all(
            isinstance(one, list) and one and isinstance(one[0], str) for one in description.get("decisions", [])
        ):
            raise ValueError("a decision names no stem")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RestemError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise RunError(f"{path}: is damaged ({reason}); {_REMEDY}.") from error
    return dict(description)


def read_labels(path: Path, taxonomy: Taxonomy) -> pl.DataFrame:
    """Reads `labels.csv` or `found.csv`; raises RunError for a missing column, and for a value that cannot be."""
    schema = labels_schema(taxonomy)
    try:
        labels = pl.read_csv(path, schema_overrides=schema)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else "unreadable"
        raise RunError(f"{path}: cannot be read ({reason}); {_REMEDY}.") from error
    if missing := [name for name in schema if name not in labels.columns]:
        raise RunError(f"{path}: the column {missing[0]!r} is missing; {_REMEDY}.")
    labels = labels.select(list(schema)).with_columns(pl.col("given", "refined").fill_null(""))
    for name in ("song", "stem", "verdict"):
        if (labels[name].fill_null("").str.strip_chars() == "").any():
            raise RunError(f"{path}: a row has no {name}; {_REMEDY}.")
    if labels["stem"].is_duplicated().any():
        twice = labels.filter(labels["stem"].is_duplicated())["stem"][0]
        raise RunError(f"{path}: the stem {twice!r} is there twice; {_REMEDY}.")
    try:
        for stem in labels["stem"]:
            check_relative(stem, str(path))
        for text in {*labels["given"], *labels["refined"]}:
            taxonomy.parse(text)
    except RestemError as error:
        raise RunError(f"{path}: {error}") from error
    if unknown := set(labels["verdict"]).difference(VERDICTS):
        raise RunError(f"{path}: {unknown.pop()!r} is not a verdict; use one of {', '.join(VERDICTS)}.")
    heard = labels.filter(pl.col("verdict") != "failed")
    _check_scores(path, heard, ["quality", *taxonomy.classes])
    for name in ("seconds", "active_seconds"):
        if not heard[name].is_between(0.0, _LONGEST_S).fill_null(False).all():
            raise RunError(f"{path}: the column {name!r} holds a value that is not a duration; {_REMEDY}.")
    return labels


def read_segments(path: Path, taxonomy: Taxonomy) -> pl.DataFrame:
    """Reads `segments.parquet`; raises RunError for a missing column, another type, and a value that cannot be."""
    with unreadable(path):
        segments = pl.read_parquet(path)
    check_segments_schema(path, segments.schema, taxonomy)
    schema = segments_schema(taxonomy)
    return check_segments(path, segments.select(pl.col(name).cast(kind) for name, kind in schema.items()), taxonomy)


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Raises RunError when the body cannot read the table in `path`."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path}: cannot be read; {_REMEDY}.") from error


def check_segments_schema(path: Path, found: Mapping[str, pl.DataType], taxonomy: Taxonomy) -> None:
    """Raises RunError for a column that is missing, or of another type."""
    for name, kind in segments_schema(taxonomy).items():
        if name not in found:
            raise RunError(f"{path}: the column {name!r} is missing; {_REMEDY}.")
        if not (found[name] == pl.String if kind == pl.String else found[name].is_numeric()):
            raise RunError(f"{path}: the column {name!r} holds {found[name]}; {_REMEDY}.")


def check_segments(path: Path, segments: pl.DataFrame, taxonomy: Taxonomy) -> pl.DataFrame:
    """Rows of `segments.parquet` as they are; raises RunError for a value that cannot be."""
    if segments.select("song", "stem").null_count().sum_horizontal().item():
        raise RunError(f"{path}: a row has no stem; {_REMEDY}.")
    times = segments.filter(~(pl.col("start_s").is_finite() & (pl.col("end_s") > pl.col("start_s"))))
    if len(times) or segments["end_s"].is_infinite().any():
        raise RunError(f"{path}: a segment has no length; {_REMEDY}.")
    _check_scores(path, segments, list(taxonomy.classes))
    return segments


def _check_scores(path: Path, rows: pl.DataFrame, columns: list[str]) -> None:
    """Raises RunError unless all of these values are probabilities."""
    for name in columns:
        # NaN is not between any two numbers, and comparing null gives null.
        if not rows[name].is_between(-_ROUNDING, 1 + _ROUNDING).fill_null(False).all():
            raise RunError(f"{path}: the column {name!r} holds a value that is not a probability; {_REMEDY}.")
