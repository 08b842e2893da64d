"""A run folder: everything one refinement found, as tables.

    RUN/labels.csv         one row a stem: song, stem, given, refined, verdict, quality,
                           <class>..., seconds, active_seconds
    RUN/segments.parquet   one row a segment: song, stem, start_s, end_s, level_db, <class>...
    RUN/classifier/        model.safetensors, config.json
    RUN/run.json           configuration, seed, versions, dataset, wall time of each stage
    RUN/report.html

`<class>...` are the scores, one column a class in taxonomy order. A stem that failed has no scores, no quality and
no times (empty cells), and keeps its given labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from restem.dataset.table import check_relative
from restem.errors import RestemError, RunError
from restem.files import write_json, written_aside
from restem.taxonomy import Taxonomy

Verdict = Literal["kept", "changed", "unsure", "silent", "failed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

LABELS_FILE = "labels.csv"
SEGMENTS_FILE = "segments.parquet"
DESCRIPTION_FILE = "run.json"
CLASSIFIER_FOLDER = "classifier"
REPORT_FILE = "report.html"


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


@dataclass(frozen=True)
class Run:
    """A finished run, read back. `labels` and `segments` have the columns above."""

    path: Path
    taxonomy: Taxonomy
    description: Mapping[str, Any]
    labels: pl.DataFrame

    @cached_property
    def segments(self) -> pl.DataFrame:
        """The scores over time."""
        try:
            return pl.read_parquet(self.path / SEGMENTS_FILE)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RunError(f"{self.path / SEGMENTS_FILE}: cannot be read; run `restem refine` again.") from error

    @property
    def dataset_root(self) -> Path:
        """The root of the refined dataset."""
        return Path(self.description["dataset"]["root"])


def open_run(path: Path | str) -> Run:
    """Reads the run folder `path`.

    Raises RunError when it is no run folder, unfinished, or its tables do not hold what they must.
    """
    path = Path(path)
    description_path, labels_path = path / DESCRIPTION_FILE, path / LABELS_FILE
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder; make one with `restem refine DATASET --out {path}`.")
    try:
        description = json.loads(description_path.read_text(encoding="utf-8"))
        dataset = description["dataset"]
        taxonomy = Taxonomy(tuple(dataset["classes"]), dataset["aliases"])
    except FileNotFoundError as error:
        raise RunError(
            f"{path}: holds no finished run ({DESCRIPTION_FILE} is missing); run `restem refine` again to go on."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RestemError) as error:
        raise RunError(f"{description_path}: is damaged; run `restem refine` again.") from error
    return Run(path, taxonomy, description, _read_labels(labels_path, taxonomy))


def _read_labels(path: Path, taxonomy: Taxonomy) -> pl.DataFrame:
    schema = labels_schema(taxonomy)
    try:
        labels = pl.read_csv(path, schema_overrides=schema)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else "unreadable"
        raise RunError(f"{path}: cannot be read ({reason}); run `restem refine` again.") from error
    if missing := [name for name in schema if name not in labels.columns]:
        raise RunError(f"{path}: the column {missing[0]!r} is missing; run `restem refine` again.")
    labels = labels.with_columns(pl.col("given", "refined").fill_null(""))
    try:
        for stem in labels["stem"]:
            check_relative(stem, str(path))
        for text in {*labels["given"], *labels["refined"]}:
            taxonomy.parse(text)
    except RestemError as error:
        raise RunError(f"{path}: {error}") from error
    if unknown := set(labels["verdict"]).difference(VERDICTS):
        raise RunError(f"{path}: {unknown.pop()!r} is no verdict; use one of {', '.join(VERDICTS)}.")
    return labels.select(list(schema))


def write_run(
    path: Path, taxonomy: Taxonomy, labels: pl.DataFrame, segments: pl.DataFrame, description: Mapping[str, Any]
) -> Run:
    """Writes the tables and then the description of a run to `path`; the description, last, marks it finished.

    description: must hold `dataset` with `root`, `classes` and `aliases`.
    """
    labels = _conform(labels, labels_schema(taxonomy))
    segments = _conform(segments, segments_schema(taxonomy))
    with written_aside(path / LABELS_FILE) as aside:
        labels.write_csv(aside, float_precision=6)
    with written_aside(path / SEGMENTS_FILE) as aside:
        segments.write_parquet(aside)
    write_json(path / DESCRIPTION_FILE, description)
    return open_run(path)


def _conform(table: pl.DataFrame, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    return table.select(pl.col(name).cast(kind) for name, kind in schema.items())
