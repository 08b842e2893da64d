"""A draft of a dataset's table and classes, to be edited where names were not understood.

    DIR/classes.yaml   the classes, and as comments the names that are no class, with their number and a guess
    DIR/stems.csv      path,labels,song,split,instrument,bleed,licence,guess: every stem, and every file that was not
                       understood with the labels `?`

Paths in `stems.csv` are relative to the dataset, which is named as well:

    restem refine DATASET --metadata DIR/stems.csv --classes DIR/classes.yaml
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import yaml

from restem.addresses import as_path
from restem.dataset.layouts import open_dataset
from restem.dataset.reading.track_names import track_name
from restem.dataset.splits import take_split
from restem.dataset.stems_csv import TABLE_FILE, write_table
from restem.dataset.table import UNKNOWN_CLASS, Dataset, Skipped, check_outside, split_stem_name
from restem.dataset.walk import walk
from restem.errors import DatasetError
from restem.files import written_aside
from restem.instruments import family_guess
from restem.taxonomy import KNOWN_ALIASES, UNKNOWN, Taxonomy, normalise
from restem.wording import counted

CLASSES_FILE = "classes.yaml"


def write_draft(
    path: Path | str,
    folder: Path | str,
    *,
    layout: str | None = None,
    taxonomy: Taxonomy | None = None,
    metadata: Path | str | None = None,
) -> int:
    """Writes `classes.yaml` and `stems.csv` for the dataset at `path` to `folder`.

    The other arguments are those of `open_dataset`. A folder of which nothing is understood becomes a table of all its
    audio files.
    Returns how many files were not understood. Raises DatasetError when there is no audio, or `folder` lies in it.
    """
    root, folder, taxonomy = as_path(path).expanduser().absolute(), as_path(folder), taxonomy or Taxonomy()
    check_outside(root if root.is_dir() else root.parent, folder)
    try:
        dataset = open_dataset(path, layout=layout, taxonomy=taxonomy, metadata=metadata)
    except DatasetError:
        audio = walk(root).audio if root.is_dir() else []
        if not audio:
            raise
        dataset = Dataset(root, "none", taxonomy, (), tuple(Skipped(file.path, UNKNOWN_CLASS) for file in audio))
    unknown = [item for item in dataset.skipped if item.reason.endswith(UNKNOWN_CLASS)]
    folder.mkdir(parents=True, exist_ok=True)
    songs = {PurePosixPath(stem.path).parent: stem.song for stem in dataset.stems}
    write_table(folder / TABLE_FILE, dataset, [_row(item, songs, taxonomy) for item in unknown])
    with written_aside(folder / CLASSES_FILE) as aside:
        aside.write_text(_classes_text(taxonomy, unknown), encoding="utf-8")
    return len(unknown)


def _row(item: Skipped, songs: Mapping[PurePosixPath, str], taxonomy: Taxonomy) -> dict[str, str]:
    """The row of a file that was not understood. songs: folder -> song, of the stems."""
    folder, name = PurePosixPath(split_stem_name(item.path)[0]).parent, _name(item)
    split, above = take_split(folder.parts)
    song = songs.get(folder, "/".join(above))
    facts = {"path": item.path, "labels": UNKNOWN, "song": song, "split": split, "instrument": name}
    return {**facts, "guess": _guess(name, taxonomy)}


def _classes_text(taxonomy: Taxonomy, unknown: list[Skipped]) -> str:
    """The taxonomy file: classes with the aliases that were added to the usual ones, then what is not understood."""
    added: dict[str, list[str]] = {name: [] for name in taxonomy.classes}
    for alias, name in taxonomy.aliases.items():
        if alias not in map(normalise, KNOWN_ALIASES.get(name, ())):
            added[name].append(alias)
    lines = [yaml.safe_dump(added, sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip()]
    together: dict[str, list[Skipped]] = defaultdict(list)
    for item in unknown:
        together[normalise(_name(item))].append(item)
    if together:
        lines.append("\n# Not understood, the most frequent first. Write a name into the list of its class above:")
    for name, items in sorted(together.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        guess = _guess(name, taxonomy)
        lines.append(
            f"#   {_one_line(name)}: {counted(len(items), 'file')}, such as {_one_line(items[0].path)}"
            + (f"; perhaps {guess}" if guess else "")
        )
    return "\n".join(lines) + "\n"


def _name(item: Skipped) -> str:
    """What was not understood: the name in the metadata or of the stream, or else of the track."""
    named, separator, _ = item.reason.rpartition(f": {UNKNOWN_CLASS}")
    if separator:
        return named
    path = PurePosixPath(split_stem_name(item.path)[0])
    return track_name(path.stem, "/".join(path.parts[:-1]))


def _guess(name: str, taxonomy: Taxonomy) -> str:
    return taxonomy.of_family(family_guess(name)) or ""


def _one_line(text: str) -> str:
    """`text` such that it cannot end a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
