"""The table layout: a CSV that lists stems and their label sets.

    path,labels,song
    Song A/vocals.wav,vocals,Song A
    Song A/bass.wav,bass+drums,Song A
    Song A/other.wav,,Song A

`path` is relative to the CSV's folder (`x.stem.mp4#2` is stream 2 of a file with several, `x.wav:L` the left channel).
`labels` is a label set; an empty one means that no class is present, `?` that nobody knows. `song` may be left out:
then the folder of a file is its song, and a file beside the CSV is a song of its own. `split`, `instrument`, `bleed`
and `licence` are kept with the stem. Other columns are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from restem.dataset.splits import FOLDERS
from restem.dataset.table import STATED, Dataset, Stem, check_relative, nfc, split_stem_name
from restem.errors import DatasetError, TaxonomyError
from restem.files import written_aside
from restem.taxonomy import UNKNOWN, Taxonomy

TABLE_FILE = "stems.csv"
REQUIRED_COLUMNS = ("path", "labels")


def read_table(path: Path, taxonomy: Taxonomy, root: Path | None = None) -> list[Stem]:
    """The stems that the CSV `path` lists, in its order.

    root: the folder that its paths are relative to, by default its own.
    Raises DatasetError, with the line, for a missing column or file, a path that leads outside of that folder, a stem
    listed twice, and a label that is not a class.
    """
    stems: list[Stem] = []
    lines: dict[str, int] = {}
    for line, row in read_rows(path, REQUIRED_COLUMNS):
        where = f"{path}, line {line}"
        name = existing_file(root or path.parent, row["path"], where)
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
        song, split = row.get("song", ""), row.get("split", "").strip()
        stem = Stem(
            nfc(song if song.strip() else _song_of(file_path)), file_path, labels, stream,
            split=FOLDERS.get(split.lower(), split), instrument=row.get("instrument", ""), bleed=row.get("bleed", ""),
            licence=row.get("licence", row.get("license", "")), unknown=row["labels"].strip() == UNKNOWN,
        )  # fmt: skip
        stems.append(stem)
    if not stems:
        raise DatasetError(f"{path}: lists no stems; add one row per stem.")
    return stems


def write_table(path: Path, dataset: Dataset, more: Iterable[Mapping[str, str]] = ()) -> None:
    """Writes a table of the stems of `dataset`, with paths relative to its root, and of `more` rows, to `path`."""
    stems = [
        {"path": stem.name, "labels": dataset.given_text(stem), "song": stem.song}
        | {name: getattr(stem, name) for name in STATED}
        for stem in dataset.stems
    ]
    rows = [*stems, *more]
    columns = dict.fromkeys(name for row in rows for name in row)
    with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)


def find_table(folder: Path, names: Sequence[str]) -> str | None:
    """The CSV among `names` that lists the stems of `folder`: `stems.csv`, or the only one with the right columns.

    Raises DatasetError when there is no `stems.csv` and several others have the columns.
    """
    fitting = [name for name in sorted(names) if set(REQUIRED_COLUMNS) <= header_of(folder / name)]
    if TABLE_FILE in names:
        # A file of this name is meant as the table, so a missing column is reported rather than the file ignored.
        return TABLE_FILE
    if len(fitting) > 1:
        raise DatasetError(
            f"{folder}: is ambiguous, {fitting[0]} and {fitting[1]} both list stems; give the path of one of them."
        )
    return fitting[0] if fitting else None


def read_rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV as (line number, column -> text); lines that are blank, or hold commas alone, are skipped.

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
                # Excel saves the empty rows of a sheet as commas.
                if any(cell.strip() for cell in row):
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


def header_of(path: Path) -> set[str]:
    """The column names of a CSV; an empty set when it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {name.strip() for name in next(csv.reader(file), [])}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()


def existing_file(folder: Path, text: str, where: str) -> str:
    """The stem name written `text`, as its file below `folder` is spelled; raises DatasetError when there is none.

    Names are compared in Unicode NFC. where: the file and line of `text`, for the message.
    """
    name = check_relative(text, where)
    # Tables made on Windows may write `a\\b.wav`, which is a name of its own elsewhere.
    for candidate in dict.fromkeys((name, name.replace("\\", "/"))):
        path, _ = split_stem_name(candidate)
        try:
            if (folder / path).is_file():
                return candidate
            if (spelled := as_spelled(folder, path)) and (folder / spelled).is_file():
                return spelled + candidate[len(path) :]
        except OSError as error:
            raise DatasetError(f"{where}: {folder / path}: cannot be read ({error.strerror}).") from error
    problem = "is a folder, not an audio file" if (folder / name).is_dir() else "no such file"
    raise DatasetError(f"{where}: {folder / name}: {problem}; correct the path or remove the row.")


def as_spelled(folder: Path, path: str) -> str | None:
    """`path` as its folders and its file are spelled on disk, where they differ from it in their Unicode form."""
    if path.isascii():
        return None
    parts: list[str] = []
    for part in PurePosixPath(path).parts:
        try:
            names = [entry.name for entry in folder.joinpath(*parts).iterdir()]
        except OSError:
            return None
        found = part if part in names else next((name for name in names if nfc(name) == nfc(part)), None)
        if found is None:
            return None
        parts.append(found)
    return "/".join(parts)


def _song_of(path: str) -> str:
    """The song of a file whose row does not name one."""
    pure = PurePosixPath(path)
    return str(pure.parent) if len(pure.parts) > 1 else pure.stem
