"""`segments.parquet`, written in parts and read stem by stem: a large run has more segments than fit into memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from restem.runs.tables import check_segments, check_segments_schema, segments_schema, unreadable
from restem.taxonomy import Taxonomy

# Rows that are compressed together, those of about 1,000 stems of a minute: to read one stem, so many are read.
_GROUP = 1 << 16
# Rows that are read at once where all are wanted.
_AT_ONCE = 1 << 20


def write_segments(path: Path, taxonomy: Taxonomy, parts: Iterable[pl.DataFrame]) -> None:
    """Writes tables with the columns of `segments.parquet`, one after another."""
    schema = segments_schema(taxonomy)

    def conformed(*_: object) -> Iterator[pl.DataFrame]:
        for part in parts:
            yield part.select(pl.col(name).cast(kind) for name, kind in schema.items())

    register_io_source(conformed, schema=dict(schema)).sink_parquet(path, row_group_size=_GROUP)


class SegmentsFile:
    """The segments of a run.

    places: stem -> the stretches of rows about it. Raises RunError for a missing column, another type, and, when it is
    read, a value that cannot be.
    """

    def __init__(self, path: Path, taxonomy: Taxonomy) -> None:
        self._path = path
        self._taxonomy = taxonomy
        with unreadable(path):
            check_segments_schema(path, pl.read_parquet_schema(path), taxonomy)
            stretches = self._scan().select("stem").collect()["stem"].rle().struct.unnest()
        first = stretches["len"].cum_sum() - stretches["len"]
        # One of each stem, unless somebody has sorted the file anew.
        self.places: dict[str, list[slice]] = {}
        for stem, start, count in zip(stretches["value"], first, stretches["len"], strict=True):
            self.places.setdefault(stem, []).append(slice(start, start + count))

    def of(self, stem: str) -> pl.DataFrame | None:
        """The rows about a stem, in the order of time; None where there are none."""
        return self.of_stems([stem]).get(stem)

    def of_stems(self, stems: Collection[str]) -> dict[str, pl.DataFrame]:
        """The rows about some stems, in the order of time; a stem without any is left out."""
        wanted = {stem: self.places[stem] for stem in stems if stem in self.places}
        read: list[pl.DataFrame] = []
        for stretch in _joined(one for places in wanted.values() for one in places):
            with unreadable(self._path):
                rows = self._scan().slice(stretch.start, stretch.stop - stretch.start).collect()
            read.append(check_segments(self._path, rows, self._taxonomy))
        if not read:
            return {}
        parts = pl.concat(read).sort("stem", "start_s").partition_by("stem", as_dict=True)
        return {stem: parts[(stem,)] for stem in wanted}

    def parts(self) -> Iterator[pl.DataFrame]:
        """All rows in the order of the file, so many at once."""
        total = max((one.stop for places in self.places.values() for one in places), default=0)
        for start in range(0, total, _AT_ONCE):
            with unreadable(self._path):
                rows = self._scan().slice(start, _AT_ONCE).collect()
            yield check_segments(self._path, rows, self._taxonomy)

    def _scan(self) -> pl.LazyFrame:
        schema = segments_schema(self._taxonomy)
        return pl.scan_parquet(self._path).select(pl.col(name).cast(kind) for name, kind in schema.items())


def _joined(stretches: Iterable[slice]) -> list[slice]:
    """Stretches of rows in their order; those that follow one another are one: stems of a song, as a rule."""
    joined: list[slice] = []
    for one in sorted(stretches, key=lambda one: one.start):
        if joined and joined[-1].stop == one.start:
            joined[-1] = slice(joined[-1].start, one.stop)
        else:
            joined.append(one)
    return joined
