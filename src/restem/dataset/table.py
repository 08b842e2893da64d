"""A dataset as a table of stems, each with its song, path and given labels."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from restem.addresses import Address, as_path, list_objects
from restem.content import last_written, sample_digest
from restem.errors import DatasetError
from restem.notebook import html_table
from restem.taxonomy import UNKNOWN, LabelSet, Taxonomy
from restem.wording import counted

if TYPE_CHECKING:
    import polars as pl


STATED = ("split", "instrument", "bleed", "licence")
"""What a dataset may state about a stem: fields of `Stem`, which every table carries on."""


@dataclass(frozen=True)
class Stem:
    """One audio stream or channel of a song, with the labels it was given and what the dataset says about it.

    Attributes
    ----------
    song
        The song it belongs to.
    path
        The file, relative to the dataset's root, with `/`.
    given
        The classes it was given as labels; none where nobody knows what it holds.
    stream
        The audio stream, for a file that holds several; -1, -2, ... is the first, second, ... channel of a file of
        which each channel is a stem.
    split
        `train`, `valid`, `test`, another part of the dataset, or empty.
    instrument
        What the dataset's metadata or the file's name call it.
    bleed
        Whether other instruments can be heard in it, as the metadata say: `yes`, `no` or empty.
    licence
        As the dataset states it, or empty.
    unknown
        Whether nobody knows what it holds: it is scored, but not learned from.

    Examples
    --------
    >>> stem = restem.open_dataset("my-stems").stems[0]
    >>> stem.song, stem.path, set(stem.given)
    ('Song 1', 'Song 1/bass.wav', {'bass'})
    """

    song: str
    path: str
    given: LabelSet
    stream: int | None = None
    split: str = ""
    instrument: str = ""
    bleed: str = ""
    licence: str = ""
    unknown: bool = False

    @property
    def name(self) -> str:
        """What the column `stem` of every table holds: the path, then `#2` for stream 2, `:L` for the left channel."""
        if self.stream is None:
            return self.path
        return f"{self.path}#{self.stream}" if self.stream >= 0 else f"{self.path}:{channel_name(self.stream)}"

    @property
    def channel(self) -> str:
        """`L` or `R` (`3`, `4`, ... for further ones) where one channel of the file is the stem, else empty."""
        return channel_name(self.stream) if self.stream is not None and self.stream < 0 else ""


UNKNOWN_CLASS = "no class of the taxonomy; add it as a class or as an alias"
"""How the reason ends for a file that would be a stem if its name were that of a class."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not a stem of the dataset, and why.

    stem: of a mixture of all classes but one, such as `instrumental.wav`, the stem that it can be taken for.
    """

    path: str
    reason: str
    stem: Stem | None = None

    @property
    def unclassed(self) -> bool:
        """Whether it would be a stem if its name were that of a class: its sound belongs into the mixture of a song."""
        return self.reason.endswith(UNKNOWN_CLASS)

    @property
    def expected(self) -> bool:
        """Whether it is certainly no stem: a mixture, or a hidden file."""
        return self.reason == "hidden" or self.reason.endswith("not a stem")


@dataclass(frozen=True, repr=False)
class Dataset:
    """The stems of one folder or table, in dataset order: by song, then by stem, numbers by value.

    Attributes
    ----------
    root
        The folder, on a disk or at an address; it is never written to.
    layout
        How the stems lie in it, as `songs` or `moisesdb`.
    taxonomy
        The classes that stems are labelled with.
    stems
        The stems, in dataset order.
    skipped
        The files that are not stems, and why.
    notes
        What should be known about the whole, one sentence each.

    Examples
    --------
    >>> dataset = restem.open_dataset("my-stems")
    >>> dataset
    Dataset('my-stems', layout='songs', 2 songs, 8 stems)
    >>> dataset.table.head(2).rows()
    [('Song 1', 'Song 1/bass.wav', 'bass'), ('Song 1', 'Song 1/drums.wav', 'drums')]
    """

    root: Path
    layout: str
    taxonomy: Taxonomy
    stems: tuple[Stem, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stems)

    def __repr__(self) -> str:
        songs, stems = counted(len(self.songs), "song"), counted(len(self), "stem")
        return f"Dataset({self.root.name!r}, layout={self.layout!r}, {songs}, {stems})"

    def _repr_html_(self) -> str:
        rows = [(name, sum(name in stem.given for stem in self.stems)) for name in self.taxonomy.classes]
        return html_table(repr(self), ("class", "stems"), rows)

    @property
    def table(self) -> pl.DataFrame:
        """The stems as a data frame `song,stem,given`, one row per stem; `given` is as `bass+drums`, `?` if unknown."""
        import polars as pl

        rows = [(stem.song, stem.name, self.given_text(stem)) for stem in self.stems]
        return pl.DataFrame(rows, schema=dict.fromkeys(("song", "stem", "given"), pl.String), orient="row")

    def given_text(self, stem: Stem) -> str:
        """The labels of a stem as they are written in tables."""
        return UNKNOWN if stem.unknown else self.taxonomy.format(stem.given)

    def file(self, stem: Stem) -> Path:
        """The file of a stem."""
        return self.root / stem.path

    @property
    def songs(self) -> tuple[str, ...]:
        """The songs, each once, in dataset order."""
        return tuple(dict.fromkeys(stem.song for stem in self.stems))

    @property
    def splits(self) -> dict[str, str]:
        """Song -> its split, empty where it has none."""
        return {stem.song: stem.split for stem in self.stems}

    def stated(self) -> dict[str, dict[str, str]]:
        """Stem name -> what the dataset states about it, `STATED`; without what is empty."""
        return {
            stem.name: facts
            for stem in self.stems
            if (facts := {name: value for name in STATED if (value := getattr(stem, name))})
        }

    def in_splits(self, splits: Collection[str]) -> Dataset:
        """The dataset with the stems of these splits alone; the empty name stands for stems without a split."""
        stems = tuple(stem for stem in self.stems if stem.split in splits)
        others = tuple(
            Skipped(stem.name, f"of the split {stem.split or 'none'}")
            for stem in self.stems
            if stem.split not in splits
        )
        return replace(self, stems=stems, skipped=(*self.skipped, *others))

    def check_outside(self, *paths: Path | str) -> None:
        """Raises DatasetError when one of the paths lies in the dataset, which is never written to."""
        check_outside(self.root, *paths)

    def with_labels(self, labels: Mapping[str, LabelSet]) -> Dataset:
        """The dataset with other given labels; `labels` maps stem names to label sets, stems it lacks stay."""
        stems = tuple(
            replace(stem, given=labels[stem.name], unknown=False) if stem.name in labels else stem
            for stem in self.stems
        )
        return replace(self, stems=stems)

    def fingerprint(self) -> str:
        """A hash of the stems, their labels and samples of their files' content (`content.sample_digest`).

        It does not depend on where the dataset lies and when it was copied there. A file that cannot be read counts as
        missing.
        """
        return str(self.origin()["fingerprint"])

    def origin(self) -> dict[str, Any]:
        """What work on this dataset depends on, as JSON.

        `fingerprint`; `content`, the part of it that is about the files' content; `written`, a hash of when each file
        was last written, which tells of changes between the samples; `root` and `classes`.
        """
        content = content_hash(self.root, [stem.name for stem in self.stems])
        rows = [f"{stem.song}\t{stem.name}\t{self.taxonomy.format(stem.given)}" for stem in self.stems]
        return {
            "fingerprint": _hash([",".join(self.taxonomy.classes), *rows, content]),
            "content": content,
            "written": _hash([_written(self.file(stem)) for stem in self.stems]),
            "root": str(self.root.resolve()),
            "classes": list(self.taxonomy.classes),
        }


def content_hash(root: Path, stems: Iterable[str]) -> str:
    """A hash of the names of stems, and of samples of the content of their files below `root`."""
    if isinstance(root, Address):
        list_objects(root)  # one question for all of them, and what they are now
    contents: dict[str, str] = {}
    lines = []
    for name in stems:
        path, _ = split_stem_name(name)
        if path not in contents:
            try:
                contents[path] = sample_digest(root / path)
            except OSError:
                contents[path] = "missing"
        lines.append(f"{name}\t{contents[path]}")
    return _hash(lines)


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _written(path: Path) -> str:
    try:
        return last_written(path)
    except OSError:
        return "missing"


def natural_order(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key under which `take2` comes before `take10`."""
    parts = re.split(r"(\d+)", text.lower())
    # By the number of digits, then by the digits: int() would refuse thousands of them.
    numbers = (part.lstrip("0") if part.isdecimal() else None for part in parts)
    return tuple(
        (1, 0, part) if digits is None else (0, len(digits), digits)
        for part, digits in zip(parts, numbers, strict=True)
    )


def split_stem_name(name: str) -> tuple[str, int | None]:
    """The path and the audio stream or channel of a `Stem.name`: the inverse of that property."""
    if match := re.fullmatch(r"(.+\.(?:mp4|m4a))#(\d+)", name, re.IGNORECASE | re.DOTALL):
        return match[1], int(match[2])
    if match := re.fullmatch(r"(.+\.\w+):(L|R|[3-9])", name, re.DOTALL):
        return match[1], -1 - "LR3456789".index(match[2])
    return name, None


def channel_name(stream: int) -> str:
    """How the channel of the stream -1, -2, ... is written: L, R, 3, 4, ... up to 9."""
    return "LR3456789"[-1 - stream]


def nfc(text: str) -> str:
    """`text` in Unicode NFC, in which names are compared: a Mac writes `é` in file names as two characters."""
    return unicodedata.normalize("NFC", text)


def check_outside(root: Path, *paths: Path | str) -> None:
    """Raises DatasetError when a path to be written lies in the dataset at `root`, which is never written to."""
    for path in paths:
        if as_path(path).resolve().is_relative_to(root.resolve()):
            raise DatasetError(f"{path}: lies in the dataset, which is never written to; choose a place outside of it.")


def within_song(song: str, stem: str) -> str:
    """`stem` without the folder of its song, if it is in that folder: (`take1`, `take1/bass.ogg`) -> `bass.ogg`."""
    return stem.removeprefix(f"{song}/") or stem


def check_relative(path: str, source: str) -> str:
    """`path` if it stays inside its dataset: relative, with `/`, without `..`; `source` names where it was read.

    Only the text is checked, so a link inside a dataset may point outside of it. Raises DatasetError.
    """
    # A backslash leads out on Windows only, but a table may be read there; a colon is ordinary elsewhere.
    pure = PurePosixPath(path.replace("\\", "/"))
    drive = re.match(r"[A-Za-z]:/", str(pure)) or (os.name == "nt" and ":" in path)
    if not path.strip() or pure.is_absolute() or ".." in pure.parts or drive or "\0" in path:
        raise DatasetError(
            f"{source}: the path {path!r} leads outside its dataset; use paths relative to the dataset, without '..'."
        )
    return str(PurePosixPath(path))
