"""Truth tables: CSVs `song,stem,given,true` with the true label set of every stem of a dataset."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from restem.addresses import as_path
from restem.dataset.stems_csv import read_rows
from restem.dataset.table import check_relative
from restem.errors import DatasetError, TaxonomyError
from restem.taxonomy import Taxonomy

TRUTH_FILE = "truth.csv"
SEGMENTS_TRUTH_FILE = "truth_segments.csv"

TRUTH_COLUMNS = ("song", "stem", "given", "true")


def read_truth(path: Path | str, taxonomy: Taxonomy) -> pl.DataFrame:
    """Reads a truth table: columns `song`, `stem`, `given`, `true`, all text, label sets in taxonomy order.

    `stem` is kept as written: relative to the dataset's root, or to the song's folder.
    Raises DatasetError, with the line, for a missing column, a path that leads outside, a stem listed twice, and a
    label that is not a class.
    """
    path = as_path(path)
    rows: list[tuple[str, ...]] = []
    lines: dict[tuple[str, str], int] = {}
    for line, row in read_rows(path, TRUTH_COLUMNS):
        where = f"{path}, line {line}"
        song, stem = row["song"], check_relative(row["stem"], where)
        if (song, stem) in lines:
            raise DatasetError(
                f"{where}: the stem {stem!r} of {song!r} is on line {lines[song, stem]} already; remove one of them."
            )
        lines[song, stem] = line
        try:
            given, true = (taxonomy.format(taxonomy.parse(row[name])) for name in ("given", "true"))
        except TaxonomyError as error:
            raise DatasetError(f"{where}: {error}") from error
        rows.append((song, stem, given, true))
    if not rows:
        raise DatasetError(f"{path}: holds no rows; give the truth.csv that belongs to the dataset.")
    return pl.DataFrame(rows, schema=dict.fromkeys(TRUTH_COLUMNS, pl.String), orient="row")
