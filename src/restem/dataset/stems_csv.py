"""The table layout: a CSV that lists stems and their label sets.

    path,labels,song
    Song A/vocals.wav,vocals,Song A
    Song A/bass.wav,bass+drums,Song A
    Song A/other.wav,,Song A

`path` is relative to the CSV's folder (`x.stem.mp4#2` is stream 2 of a file with several). `labels` is a label set; an
empty one means that no class is present. `song` may be left out: then the folder of a file is its song, and a file
beside the CSV is a song of its own. Other columns are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from restem.dataset.table import Stem, check_relative, split_stem_name
from restem.errors import DatasetError, TaxonomyError
from restem.taxonomy import Taxonomy

TABLE_FILE = "stems.csv"
REQUIRED_COLUMNS = ("path", "labels")


def read_table(path: Path, taxonomy: Taxonomy) -> list[Stem]:
    """The stems that the CSV `path` lists, in its order.

    Raises DatasetError, with the line, for a missing column or file, a path that leads outside of the CSV's folder, a
    stem listed twice, and a label that is not a class.
    """
    stems: list[Stem] = []
    lines: dict[str, int] = {}
    for line, row in read_rows(path, REQUIRED_COLUMNS):
        where = f"{path}, line {line}"
        name = _existing_name(path.parent, row["path"], where)
        file_path, stream = split_stem_name(name)
        if name in lines:
            raise DatasetError(
                f"{where}: the stem {name!r} is listed on line {lines[name]} already; remove one of them."
            )
        lines[name] = line
        try:
            labels = taxonomy.parse(row["labels"])
        except TaxonomyError as error:
            raise DatasetError(f"{where}: {error}") from error
        song = row.get("song", "")
        stems.append(Stem(song if song.strip() else _song_of(file_path), file_path, labels, stream))
    if not stems:
        raise DatasetError(f"{path}: lists no stems; add one row per stem.")
    return stems


def find_table(folder: Path, names: Sequence[str]) -> str | None:
    """The CSV among `names` that lists the stems of `folder`: `stems.csv`, or the only one with the right columns.

    Raises DatasetError when there is no `stems.csv` and several others have the columns.
    """
    fitting = [name for name in sorted(names) if set(REQUIRED_COLUMNS) <= _header(folder / name)]
    if TABLE_FILE in names:
        # A file of this name is meant as the table, so a missing column is reported rather than the file ignored.
        return TABLE_FILE
    if len(fitting) > 1:
        raise DatasetError(
            f"{folder}: is ambiguous, {fitting[0]} and {fitting[1]} both list stems; give the path of one of them."
        )
    return fitting[0] if fitting else None


def read_rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV as (line number, column -> text); blank lines are skipped.

    Raises DatasetError when the file cannot be read, lacks a `required` column, or a row has too few or many cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = [name.strip() for name in next(rows, [])]
            if missing := [name for name in required if name not in header]:
                raise DatasetError(
                    f"{path}: the column {missing[0]!r} is missing; "
                    f"the first line must name {','.join(required)}, with commas between."
                )
            line = rows.line_num + 1
            for row in rows:
                if row:
                    if len(row) != len(header):
                        raise DatasetError(
                            f"{path}, line {line}: has {len(row)} cells where the first line has {len(header)}; "
                            "put names that hold a comma in double quotes."
                        )
                    yield line, dict(zip(header, row, strict=True))
                line = rows.line_num + 1
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{path}: cannot be read as a CSV ({reason}); save it as UTF-8 with commas.") from error


def _header(path: Path) -> set[str]:
    """The column names of a CSV; an empty set when it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {name.strip() for name in next(csv.reader(file), [])}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()


def _existing_name(folder: Path, text: str, where: str) -> str:
    """The stem name written `text`, checked to be a file below `folder`; raises DatasetError."""
    name = check_relative(text, where)
    # Tables made on Windows may write `a\\b.wav`, which is a name of its own elsewhere.
    for candidate in dict.fromkeys((name, name.replace("\\", "/"))):
        file = folder / split_stem_name(candidate)[0]
        try:
            if file.is_file():
                return candidate
        except OSError as error:
            raise DatasetError(f"{where}: {file}: cannot be read ({error.strerror}).") from error
    problem = "is a folder, not an audio file" if (folder / name).is_dir() else "no such file"
    raise DatasetError(f"{where}: {folder / name}: {problem}; correct the path or remove the row.")


def _song_of(path: str) -> str:
    """The song of a file whose row does not name one."""
    pure = PurePosixPath(path)
    return str(pure.parent) if len(pure.parts) > 1 else pure.stem
