"""Opens a folder or CSV as a dataset: detects which of the four layouts it has, and lists its stems.

    songs           root/Song A/vocals.wav                 MUSDB18-HQ, SDXDB23, MSST type 1
                    root/train/Song A/vocals.wav           songs may lie deeper
                    root/train/Song A.stem.mp4             MUSDB18: one file per song, one stream per stem
    song-folders    root/Song A/vocals/lead.wav            MoisesDB
    classes         root/vocals/anything.wav               MSST type 2
    table           root/stems.csv                         path,labels[,song]

A song is named after the path of its folder (`train/Song A`). The layout `classes` has no songs: there, files that have
the same path below their class folders (`vocals/a.wav`, `drums/a.flac`) are taken as one song, `a`, because that is
what a dataset of songs becomes when it is sorted by class; if two unrelated stems are taken as one song, they only stay
together in a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from restem.dataset.stems_csv import find_table, read_table
from restem.dataset.table import UNKNOWN_CLASS, Dataset, Skipped, Stem, natural_order
from restem.dataset.walk import AudioFile, Found, walk
from restem.errors import DatasetError, UsageError
from restem.taxonomy import Taxonomy, normalise

LAYOUTS: Mapping[str, str] = {
    "songs": "song/<class>.<ext>",
    "song-folders": "song/<class>/<anything>.<ext>",
    "classes": "<class>/<anything>.<ext>",
    "table": "a CSV with the columns path,labels[,song]",
}

# Stream 0 of a MUSDB18 `.stem.mp4` is the mixture; https://sigsep.github.io/datasets/musdb.html
MUSDB_STREAMS: Mapping[int, str] = {1: "drums", 2: "bass", 3: "other", 4: "vocals"}

MIXTURE = "the mixture, not a stem"

_MIXTURE_NAMES = frozenset(
    {"mixture", "mix", "accompaniment", "instrumental", "instrumentals", "no vocals", "karaoke", "minus one"}
)

# The layout with the second most files is ignored up to this share of the first one's; above it, the user must choose.
_AMBIGUOUS_SHARE = 0.5


def open_dataset(path: Path | str, *, layout: str | None = None, taxonomy: Taxonomy | None = None) -> Dataset:
    """Lists the stems of a dataset. Nothing is decoded, and nothing is written.

    Parameters
    ----------
    path
        A folder, or a CSV with the columns `path,labels`.
    layout
        `songs`, `song-folders`, `classes` or `table`; by default it is detected.
    taxonomy
        The classes and their aliases; by default vocals, drums, bass and other.

    Returns
    -------
    Dataset
        The stems with the labels they were given, and the files that were skipped.

    Raises
    ------
    DatasetError
        When `path` is missing, holds no stems or could be read in two ways, and for a table with a fault.
    UsageError
        For a layout that does not exist.

    Examples
    --------
    >>> restem.open_dataset("my-stems")
    Dataset('my-stems', layout='songs', 2 songs, 8 stems)
    >>> restem.open_dataset("my-stems", taxonomy=restem.read_taxonomy("bass,drums")).songs
    ('Song 1', 'Song 2')
    """
    taxonomy = taxonomy or Taxonomy()
    root = Path(path).expanduser().absolute()
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"There is no layout {layout!r}; use one of {', '.join(LAYOUTS)}.")
    if root.suffix.lower() == ".csv" and root.is_file():
        if layout not in (None, "table"):
            raise DatasetError(f"{root}: is a table, not a folder of the layout {layout!r}; leave out `layout`.")
        return Dataset(root.parent, "table", taxonomy, _in_order(read_table(root, taxonomy)))
    if not root.is_dir():
        what = "is neither a folder nor a CSV" if root.exists() else "no such folder"
        raise DatasetError(f"{root}: {what}; give the folder that holds the songs, or a CSV with path,labels.")

    found = walk(root)
    if layout == "table" or layout is None:
        table = find_table(root, found.tables)
        if table is not None:
            return Dataset(root, "table", taxonomy, _in_order(read_table(root / table, taxonomy)))
        if layout == "table":
            raise DatasetError(f"{root}: holds no CSV with the columns path,labels; give the CSV's own path.")
    if not found.audio:
        raise DatasetError(f"{root}: holds no audio files; give the folder that holds the songs.")
    layout = layout or _detect(root, found, taxonomy)
    stems, skipped = _read_layout(layout, found, taxonomy)
    if not stems:
        raise DatasetError(_nothing_recognised(root, found, taxonomy, layout))
    if layout == "songs":
        _check_extensions(root, stems)
    skipped.sort(key=lambda item: (natural_order(item.path), item.path))
    return Dataset(root, layout, taxonomy, _in_order(stems), tuple(skipped))


def opened_dataset(dataset: Dataset | Path | str) -> Dataset:
    """`dataset` itself, or the one at this path; raises as `open_dataset` does."""
    if isinstance(dataset, Path | str):
        return open_dataset(dataset)
    if not isinstance(dataset, Dataset):
        raise UsageError(f"`dataset` must be a dataset or the path of one, not {dataset!r}.")
    return dataset


def _detect(root: Path, found: Found, taxonomy: Taxonomy) -> str:
    """The layout that most audio files fit; raises DatasetError when none fits, or two fit about equally well."""
    counts = dict.fromkeys(("songs", "song-folders", "classes"), 0)
    for file in found.audio:
        if file.holds_song:
            counts["songs"] += len(MUSDB_STREAMS)
        elif file.folders and taxonomy.match(file.folders[-1]) and len(file.folders) > 1:
            # In `Song A/vocals/vocals.wav` the folder names the class: no song is called `vocals`.
            counts["song-folders" if not taxonomy.match(file.folders[0]) else "classes"] += 1
        elif file.folders and taxonomy.match(file.folders[0]):
            counts["classes"] += 1
        elif file.folders and taxonomy.match(file.base):
            counts["songs"] += 1
    (best, most), (second, fewer), _ = sorted(counts.items(), key=lambda item: -item[1])
    if most == 0:
        raise DatasetError(_nothing_recognised(root, found, taxonomy, None))
    if fewer > _AMBIGUOUS_SHARE * most:
        raise DatasetError(
            f"{root}: is ambiguous, {most} files fit the layout {best} ({LAYOUTS[best]}) and {fewer} fit {second} "
            f"({LAYOUTS[second]});\nchoose a `layout`, or give one of its sub-folders."
        )
    return best


def _read_layout(layout: str, found: Found, taxonomy: Taxonomy) -> tuple[list[Stem], list[Skipped]]:
    readers: dict[str, Callable[[AudioFile, Taxonomy], Iterator[Stem | Skipped]]] = {
        "songs": _in_songs,
        "song-folders": _in_song_folders,
        "classes": _in_classes,
    }
    stems: list[Stem] = []
    skipped = list(found.skipped)
    for file in found.audio:
        for item in readers[layout](file, taxonomy):
            if isinstance(item, Stem):
                stems.append(item)
            else:
                skipped.append(item)
    return stems, skipped


def _in_songs(file: AudioFile, taxonomy: Taxonomy) -> Iterator[Stem | Skipped]:
    if file.holds_song:
        song = "/".join((*file.folders, file.base))
        for stream, class_name in MUSDB_STREAMS.items():
            name = taxonomy.match(class_name)
            if name is None:
                yield Skipped(f"{file.path}#{stream}", f"{class_name}: {UNKNOWN_CLASS}")
            else:
                yield Stem(song, file.path, frozenset({name}), stream)
    elif not file.folders:
        yield Skipped(file.path, "lies outside of any song folder")
    elif name := taxonomy.match(file.base):
        yield Stem("/".join(file.folders), file.path, frozenset({name}))
    else:
        yield Skipped(file.path, MIXTURE if _is_mixture(file) else UNKNOWN_CLASS)


def _in_song_folders(file: AudioFile, taxonomy: Taxonomy) -> Iterator[Stem | Skipped]:
    name = taxonomy.match(file.folders[-1]) if len(file.folders) > 1 else None
    if name and not file.holds_song:
        yield Stem("/".join(file.folders[:-1]), file.path, frozenset({name}))
    elif _is_mixture(file):
        yield Skipped(file.path, MIXTURE)
    elif len(file.folders) < 2:
        yield Skipped(file.path, "lies outside of any class folder of a song")
    else:
        yield Skipped(file.path, f"the folder {file.folders[-1]!r} is {UNKNOWN_CLASS}")


def _in_classes(file: AudioFile, taxonomy: Taxonomy) -> Iterator[Stem | Skipped]:
    name = taxonomy.match(file.folders[0]) if file.folders else None
    if name and not file.holds_song:
        yield Stem("/".join((*file.folders[1:], file.base)), file.path, frozenset({name}))
    elif not file.folders:
        yield Skipped(file.path, "lies outside of any class folder")
    else:
        yield Skipped(file.path, f"the folder {file.folders[0]!r} is {UNKNOWN_CLASS}")


def _is_mixture(file: AudioFile) -> bool:
    return normalise(file.base) in _MIXTURE_NAMES


def _check_extensions(root: Path, stems: list[Stem]) -> None:
    """Raises DatasetError when a stem exists in two formats, as `vocals.wav` and `vocals.flac`.

    `vocals.wav` beside `vox.wav` or `vocals_2.wav` is fine: two stems of one class.
    """
    seen: dict[str, str] = {}
    for stem in stems:
        if stem.stream is None:
            other = seen.setdefault(stem.path.rpartition(".")[0], stem.path)
            if other != stem.path:
                raise DatasetError(
                    f"{root / stem.path}: is the same stem as {Path(other).name} in another format; remove one of them."
                )


def _nothing_recognised(root: Path, found: Found, taxonomy: Taxonomy, layout: str | None) -> str:
    audio = sorted(found.audio, key=lambda file: natural_order(file.path))
    if layout != "classes" and all(not file.folders for file in audio) and any(taxonomy.match(f.base) for f in audio):
        return f"{root}: holds the stems of one song; give the folder that holds this song's folder."
    wanted = f"fits the layout {layout} ({LAYOUTS[layout]})" if layout else "is in a place named after a class"
    return (
        f"{root}: holds {len(audio)} audio files, such as {audio[0].path!r}, but none {wanted}.\n"
        f"The classes are {','.join(taxonomy.classes)}: add to them with `taxonomy`, or name aliases in its file."
    )


def _in_order(stems: list[Stem]) -> tuple[Stem, ...]:
    """The stems in dataset order: by song, then path, numbers by value, ignoring case except to break ties."""

    def key(stem: Stem) -> tuple:
        return natural_order(stem.song), stem.song, natural_order(stem.path), stem.path, stem.stream or 0

    return tuple(sorted(stems, key=key))
