"""Opens a folder or CSV as a dataset: detects how it lies on disk, and lists its stems.

`LAYOUTS` holds all layouts that are known, those of public datasets first. What a file holds is decided in
`restem.dataset.reading`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from restem.addresses import Address, as_path, list_objects
from restem.dataset.known_songs import with_known_facts
from restem.dataset.notes import notes_on
from restem.dataset.reading import named
from restem.dataset.reading.containers import count_containers, read_containers
from restem.dataset.reading.conventions import CONVENTIONS
from restem.dataset.reading.flat import read_flat
from restem.dataset.reading.interface import Item, Layout
from restem.dataset.reading.listed import MSST_COLUMNS, count_audiofolder, read_audiofolder, read_msst_csv
from restem.dataset.reading.medleydb import count_medleydb, read_medleydb
from restem.dataset.reading.moisesdb import count_moisesdb, read_moisesdb
from restem.dataset.reading.slakh import count_slakh, read_slakh
from restem.dataset.splits import Purpose, choose_splits, with_development_set
from restem.dataset.stems_csv import REQUIRED_COLUMNS, find_table, header_of, read_table
from restem.dataset.table import Dataset, Skipped, Stem, natural_order, split_stem_name
from restem.dataset.walk import Found, walk
from restem.errors import DatasetError, UsageError
from restem.taxonomy import Taxonomy

TABLE, MSST_CSV = "table", "msst-csv"

# How stems lie on disk, in the layouts whose names say the classes: one of these is chosen by the number of files.
_NAMED: Mapping[str, str] = {
    named.SONGS: "song/<class>.<ext>",
    named.TRACKS: "song/<track name>.<ext>",
    named.SONG_FOLDERS: "song/<class>/<anything>.<ext>",
    named.CLASSES: "<class>/<anything>.<ext>",
    named.FLAT: "song - <class>.<ext>, or song_<class>.<ext>, all in one folder",
}
_LISTED: Mapping[str, str] = {
    TABLE: "a CSV with the columns path,labels[,song]",
    MSST_CSV: "a CSV with the columns instrum,path",
}
# Layouts of public datasets: the first that explains most of the audio files is chosen.
_PUBLIC: Mapping[str, Layout] = {
    "musdb18": Layout("song.stem.mp4, one audio stream per stem", count_containers, read_containers),
    "moisesdb": Layout("song/data.json, song/<stem>/<id>.wav", count_moisesdb, read_moisesdb),
    "medleydb": Layout("song/song_STEMS/song_STEM_01.wav, song_METADATA.yaml", count_medleydb, read_medleydb),
    "slakh": Layout("song/metadata.yaml, song/stems/S00.flac", count_slakh, read_slakh),
    "audiofolder": Layout("metadata.csv or .jsonl with file_name and a class", count_audiofolder, read_audiofolder),
    **{name: Layout(one.tree, one.count, one.read) for name, one in CONVENTIONS.items()},
}
_READERS: Mapping[str, Callable[[Found, Taxonomy], Iterable[Item]]] = {
    named.SONGS: named.read_songs,
    named.TRACKS: named.read_songs,
    named.SONG_FOLDERS: named.read_song_folders,
    named.CLASSES: named.read_classes,
    named.FLAT: read_flat,
    **{name: layout.read for name, layout in _PUBLIC.items()},
}

LAYOUTS: Mapping[str, str] = {**_NAMED, **_LISTED, **{name: layout.tree for name, layout in _PUBLIC.items()}}
"""Layout -> where its stems lie."""

# The layout with the second most files is ignored up to this share of the first one's; above it, the user must choose.
_AMBIGUOUS_SHARE = 0.5


def open_dataset(
    path: Path | str,
    *,
    layout: str | None = None,
    taxonomy: Taxonomy | None = None,
    metadata: Path | str | None = None,
) -> Dataset:
    """Lists the stems of a dataset. Nothing is decoded, and nothing is written.

    Parameters
    ----------
    path
        A folder, or a CSV with the columns `path,labels`; on a disk, or at an address such as `s3://bucket/songs`.
    layout
        One of `LAYOUTS`, as `songs`; by default it is detected.
    taxonomy
        The classes and their aliases; by default vocals, drums, bass and other.
    metadata
        What describes the audio, if it lies elsewhere: a CSV of stems whose paths are relative to `path`, or the folder
        of MedleyDB's metadata.

    Returns
    -------
    Dataset
        The stems with the labels they were given, and the files that were skipped.

    Raises
    ------
    DatasetError
        When `path` or `metadata` is missing, holds no stems or could be read in two ways, and for a table with a fault.
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
    root = as_path(path).expanduser().absolute()
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"There is no layout {layout!r}; use one of {', '.join(LAYOUTS)}.")
    if root.suffix.lower() == ".csv" and root.is_file():
        return _open_list(root.parent, root, layout, taxonomy)
    if not root.is_dir():
        what = "is neither a folder nor a CSV" if root.exists() else "no such folder"
        raise DatasetError(f"{root}: {what}; give the folder that holds the songs, or a CSV with path,labels.")
    described_in = as_path(metadata).expanduser().absolute() if metadata is not None else None
    if described_in is not None and not described_in.exists():
        raise DatasetError(f"{described_in}: no such metadata; give a CSV or a folder.")
    if described_in is not None and described_in.is_file():
        return _open_list(root, described_in, layout, taxonomy)

    found = walk(root, described_in)
    if layout in (None, *_LISTED):
        listing = _find_list(root, found, layout)
        if listing is not None:
            return _open_list(root, listing, layout, taxonomy, found)
    if not found.audio:
        raise DatasetError(f"{root}: holds no audio files; give the folder that holds the songs.")
    layout = layout or _detect(root, found, taxonomy)
    dataset = _dataset(root, layout, taxonomy, _READERS[layout](found, taxonomy), found.skipped)
    if not dataset.stems:
        raise DatasetError(_nothing_recognised(root, found, taxonomy, layout))
    if layout in (named.SONGS, named.TRACKS):
        _check_extensions(root, dataset.stems)
    return dataset


def opened_dataset(
    dataset: Dataset | Path | str, purpose: Purpose | None = None, taxonomy: Taxonomy | None = None
) -> Dataset:
    """`dataset` itself, or the one at this path; raises as `open_dataset` does.

    purpose: of the dataset at a path, only the splits that are for it; see `choose_splits`. taxonomy: of the dataset at
    a path, its classes.
    """
    if isinstance(dataset, Path | str):
        opened = open_dataset(dataset, taxonomy=taxonomy)
        return choose_splits(opened, None, purpose) if purpose else opened
    if not isinstance(dataset, Dataset):
        raise UsageError(f"`dataset` must be a dataset or the path of one, not {dataset!r}.")
    return dataset


def _dataset(
    root: Path, layout: str, taxonomy: Taxonomy, items: Iterable[Item], skipped: Iterable[Skipped] = ()
) -> Dataset:
    """The dataset of what a reader says; stems are in dataset order, skipped files by name."""
    stems, left_out = [], list(skipped)
    for item in items:
        if isinstance(item, Stem):
            stems.append(item)
        else:
            left_out.append(item)
    if layout not in _LISTED:
        # Mixtures of a song's rest belong to the songs of its stems, however these are named in the end.
        rests = [item for item in left_out if item.stem is not None]
        named_stems = _with_distinct_songs(with_development_set([*stems, *(item.stem for item in rests if item.stem)]))
        stems, of_rests = named_stems[: len(stems)], named_stems[len(stems) :]
        left_out = [item for item in left_out if item.stem is None]
        left_out += [replace(item, stem=stem) for item, stem in zip(rests, of_rests, strict=True)]
    if layout in (named.SONGS, "musdb18"):
        stems = with_known_facts(stems, root.name)
    stems.sort(key=_order)
    left_out.sort(key=lambda item: (natural_order(item.path), item.path))
    return Dataset(root, layout, taxonomy, tuple(stems), tuple(left_out), tuple(notes_on(stems)))


def _order(stem: Stem) -> tuple:
    """By song, then path, numbers by value, ignoring case except to break ties."""
    return natural_order(stem.song), stem.song, natural_order(stem.path), stem.path, abs(stem.stream or 0)


def _with_distinct_songs(stems: list[Stem]) -> list[Stem]:
    """The stems; where songs of two splits have the same name, all songs are named after their split as well."""
    splits: dict[str, str] = {}
    if all(splits.setdefault(stem.song, stem.split) == stem.split for stem in stems):
        return stems
    return [replace(stem, song=f"{stem.split}/{stem.song}" if stem.split else stem.song) for stem in stems]


def _find_list(root: Path, found: Found, layout: str | None) -> Path | None:
    """The CSV in the dataset's own folder that lists its stems; raises DatasetError where `layout` needs one."""
    names = [path for path in found.metadata if path.lower().endswith(".csv") and "/" not in path]
    table = find_table(root, names) if layout != MSST_CSV else None
    if table is None and layout != TABLE:
        table = next((name for name in sorted(names) if set(MSST_COLUMNS) <= header_of(root / name)), None)
    if table is None and layout is not None:
        columns = ",".join(REQUIRED_COLUMNS if layout == TABLE else MSST_COLUMNS)
        raise DatasetError(f"{root}: holds no CSV with the columns {columns}; give the CSV's own path.")
    return root / table if table is not None else None


def _open_list(root: Path, path: Path, layout: str | None, taxonomy: Taxonomy, found: Found | None = None) -> Dataset:
    """The dataset below `root` that a CSV lists; audio that was found and is not listed is skipped."""
    if layout not in (None, *_LISTED):
        raise DatasetError(f"{path}: is a table, not a folder of the layout {layout!r}; leave out `layout`.")
    if isinstance(root, Address) and found is None:
        list_objects(root)  # rather than a question for each row
    columns = header_of(path)
    if layout is None:
        layout = MSST_CSV if set(MSST_COLUMNS) <= columns and "labels" not in columns else TABLE
    if layout == TABLE:
        items: list[Item] = [*read_table(path, taxonomy, root)]
    else:
        items = list(read_msst_csv(path, root, taxonomy))
    listed = {split_stem_name(item.path)[0] for item in items}
    others: list[Skipped] = []
    if found is not None:
        unlisted = (Skipped(file.path, f"not listed in {path.name}") for file in found.audio if file.path not in listed)
        others = [*unlisted, *(item for item in found.skipped if root / item.path != path)]
    dataset = _dataset(root, layout, taxonomy, items, others)
    if not dataset.stems:
        raise DatasetError(
            f"{path}: lists no stem of the classes {','.join(taxonomy.classes)}; name others with `taxonomy`."
        )
    return dataset


def _detect(root: Path, found: Found, taxonomy: Taxonomy) -> str:
    """The layout that most audio files fit; raises DatasetError when none fits, or two fit about equally well."""
    if any(Path(path).name.startswith("openmic-2018") for path in found.metadata):
        raise DatasetError(
            f"{root}: is OpenMIC-2018, which holds mixtures with the instruments heard in them, not stems; "
            "restem needs stems."
        )
    for name, layout in _PUBLIC.items():
        if 2 * layout.fits(found, taxonomy) > len(found.audio):
            return name
    counts = Counter(named.count_fits(found, taxonomy))
    by_name = named.SONGS if counts[named.SONGS] >= counts[named.TRACKS] else named.TRACKS
    per_song = counts.pop(named.SONGS) + counts.pop(named.TRACKS)
    (best, most), (second, fewer), *_ = Counter({by_name: per_song, **counts}).most_common()
    if most == 0:
        raise DatasetError(_nothing_recognised(root, found, taxonomy, None))
    if fewer > _AMBIGUOUS_SHARE * most:
        raise DatasetError(
            f"{root}: is ambiguous, {most} files fit the layout {best} ({LAYOUTS[best]}) and {fewer} fit {second} "
            f"({LAYOUTS[second]});\nchoose a `layout`, or give one of its sub-folders."
        )
    return best


def _check_extensions(root: Path, stems: Iterable[Stem]) -> None:
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
    flat = all(not file.folders for file in audio)
    if layout != named.CLASSES and flat and any(taxonomy.classify(file.base) for file in audio):
        return f"{root}: holds the stems of one song; give the folder that holds this song's folder."
    wanted = f"fits the layout {layout} ({LAYOUTS[layout]})" if layout else "is in a place named after a class"
    return (
        f"{root}: holds {len(audio)} audio files, such as {audio[0].path!r}, but none {wanted}.\n"
        f"The classes are {','.join(taxonomy.classes)}: add to them with `taxonomy`, or name aliases in its file."
    )
