"""The classes stems are labelled with, their aliases, and label sets.

Names of files and instruments are matched in this order: a class or an alias as it is written, a pattern such as
`*kick*`, a class that is one of the words of the name, and last the family of the instrument that the words stand for
(`restem.instruments`): its class is the family itself, if that is a class, or else the one of the four classes that the
family belongs to. So `--classes vocals,drums,bass,guitar,other` takes guitars out of `other` and leaves the rest there.

A *label set* is a `frozenset` of class names. It is written as the names joined with `+` in taxonomy order
(`drums+bass`), and as the empty string when no class is present.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from restem.addresses import as_path
from restem.content import check_ordinary
from restem.errors import TaxonomyError, UsageError
from restem.instruments import FAMILIES, family_of, words_of
from restem.notebook import html_table

LabelSet = frozenset[str]

DEFAULT_CLASSES = ("vocals", "drums", "bass", "other")
UNKNOWN = "?"
"""How the label set of a stem is written of which nobody knows what it holds."""

FAMILY_CLASSES = "family"  # what `read_taxonomy` takes for all families of `restem.instruments`

# Common names of these classes in file and folder names. Only the aliases of classes that a taxonomy has are used.
# `accompaniment` is a mixture of all the rest, not `other`, and a `beat` may be a whole track: neither is here.
KNOWN_ALIASES: Mapping[str, tuple[str, ...]] = {
    "vocals": (
        "vocal", "vox", "voc", "voice", "voices", "singing", "singer", "sing", "choir",
        "lead vocals", "lead vocal", "lead vox", "backing vocals", "backing vocal", "bgv", "acapella",
    ),
    "drums": ("drum", "drumkit", "drum kit", "kit", "perc", "percussion"),
    "bass": ("basses", "bass guitar", "bassguitar", "bassline", "ebass", "sub bass", "synth bass"),
    "other": ("others", "rest", "misc", "melody"),
    "guitar": ("guitars", "gtr", "gtrs", "acoustic guitar", "electric guitar"),
    "piano": ("pianos", "pno", "keys", "keyboard", "keyboards"),
    "strings": ("string", "violin", "violins", "cello", "orchestra"),
    "winds": ("wind", "brass", "woodwind", "woodwinds", "horns", "horn", "flute", "sax"),
    "synth": ("synths", "synthesizer", "pad", "pads"),
}  # fmt: skip

_CLASS_NAME = re.compile(r"[a-z][a-z0-9_-]*( [a-z0-9_-]+)*")
_RESERVED = {
    "song", "stem", "given", "refined", "true", "verdict", "quality", "seconds", "active_seconds",
    "start_s", "end_s", "level_db", "mixture", "mix",
}  # fmt: skip


@lru_cache(maxsize=1 << 14)
def normalise(name: str) -> str:
    """The form in which names are compared: Unicode NFC, lower case, words split by one space.

    Leading numbers with a separator (`01 Drums`) and trailing ones (`other_2`) are left out, unless nothing else is
    left.
    """
    words = re.sub(r"[\s_.\-]+", " ", unicodedata.normalize("NFC", name).lower()).strip()
    without = re.sub(r"^(\d+ )+", "", words)
    return re.sub(r"[ ]?\(?\d+\)?$", "", without).strip() or words


@dataclass(frozen=True, repr=False)
class Taxonomy:
    """An ordered set of classes and the other names each goes by.

    Attributes
    ----------
    classes
        The class names, in the order of every table's columns and every array's class axis.
    aliases
        Other names in file and folder names, each with the class it stands for.

    Raises
    ------
    TaxonomyError
        For an empty or repeated class, a name that cannot be a table column, or an alias of a class that does not
        exist.

    Examples
    --------
    >>> taxonomy = restem.Taxonomy(("vocals", "drums", "bass"), {"kick": "drums"})
    >>> taxonomy.match("Lead_Vox_2"), taxonomy.match("kick")
    ('vocals', 'drums')
    >>> taxonomy.format({"bass", "drums"})
    'drums+bass'
    """

    classes: tuple[str, ...] = DEFAULT_CLASSES
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.classes:
            raise TaxonomyError("A taxonomy needs at least one class.")
        for name in self.classes:
            if not _CLASS_NAME.fullmatch(name) or name in _RESERVED:
                raise TaxonomyError(
                    f"{name!r} cannot be a class name: use lower-case letters, digits, -, _ and single blanks, "
                    "and none of the column names of a run."
                )
        if len(set(self.classes)) != len(self.classes):
            raise TaxonomyError(f"A class is named twice in {','.join(self.classes)}.")
        merged: dict[str, str] = {}
        for name in self.classes:
            for alias in KNOWN_ALIASES.get(name, ()):
                # A word for a family that is a class itself stands for that class: `perc`, of drums and percussion.
                if normalise(alias) not in self.classes:
                    family = family_of(alias)
                    merged[normalise(alias)] = family if family in self.classes else name
        for alias, name in self.aliases.items():
            if name not in self.classes:
                raise TaxonomyError(f"The alias {alias!r} stands for {name!r}, which is not a class.")
            merged[normalise(alias)] = name
        object.__setattr__(self, "aliases", merged)

    def __len__(self) -> int:
        return len(self.classes)

    def __repr__(self) -> str:
        return f"Taxonomy({','.join(self.classes)!r})"

    def _repr_html_(self) -> str:
        rows = [(name, ", ".join(key for key, one in self.aliases.items() if one == name)) for name in self.classes]
        return html_table("Taxonomy", ("class", "aliases"), rows)

    def check_learnable(self) -> None:
        """Raises UsageError when there is nothing to tell apart: one class only, or two names of the same."""
        if len(self.classes) < 2:
            raise UsageError(f"There is nothing to tell {self.classes[0]} from; name at least two classes.")
        seen: dict[str, str] = {}
        for name in self.classes:
            other = seen.setdefault(_meaning(name), name)
            if other != name:
                raise UsageError(f"The classes {other} and {name} are the same; leave out one of them.")

    def match(self, name: str) -> str | None:
        """The class a file or folder name stands for (`Lead_Vox_2` -> `vocals`), or None."""
        # A class whose own name ends in a digit (`guitar2`) is matched before the digit is ignored as a counter.
        if (exact := name.strip().lower()) in self.classes:
            return exact
        if not (key := normalise(name)):
            return None
        for candidate in self.classes:
            if normalise(candidate) == key:
                return candidate
        if alias := self.aliases.get(key):
            return alias
        return next(
            (one for pattern, one in self.aliases.items() if "*" in pattern and fnmatchcase(key, pattern)), None
        )

    def classify(self, name: str, family: str | None = None) -> str | None:
        """The class that the name of a track or an instrument stands for (`01_KickIn` -> `drums`), or None.

        family: that of the instrument, where it is known; by default the words of the name say it.
        """
        if exact := self.match(name):
            return exact
        words = f" {' '.join(words_of(name))} "
        for candidate in self.classes:
            if candidate not in FAMILIES and candidate not in FAMILIES.values() and f" {candidate} " in words:
                return candidate
        return self.of_family(family or family_of(name))

    def of_family(self, family: str | None) -> str | None:
        """The class of a family of instruments: itself, or the one of the four classes it belongs to, or None."""
        candidates = (family, FAMILIES.get(family or ""))
        return next((name for name in candidates if name in self.classes), None)

    def parse(self, text: str) -> LabelSet:
        """Parses a label set such as `bass+drums`; aliases are accepted, in any order. `?` is the empty set.

        Raises TaxonomyError for a name that is not a class.
        """
        labels = set()
        for part in text.split("+") if text.strip() not in ("", UNKNOWN) else []:
            name = self.match(part)
            if name is None:
                raise TaxonomyError(
                    f"{part.strip()!r} is not a class of {','.join(self.classes)}; "
                    "add it to `taxonomy` as a class, or as an alias in a taxonomy file."
                )
            labels.add(name)
        return frozenset(labels)

    def format(self, labels: Iterable[str]) -> str:
        """Writes `labels` in taxonomy order, as `drums+bass`; the empty set is the empty string.

        Raises TaxonomyError for a name that is not a class.
        """
        present = set(labels)
        if unknown := present.difference(self.classes):
            raise TaxonomyError(f"{sorted(unknown)[0]!r} is not a class of {','.join(self.classes)}.")
        return "+".join(name for name in self.classes if name in present)

    def to_flags(self, labels: Iterable[str]) -> tuple[bool, ...]:
        """`labels` as one flag per class, in taxonomy order."""
        present = set(labels)
        return tuple(name in present for name in self.classes)

    def from_flags(self, flags: Sequence[bool]) -> LabelSet:
        """The inverse of `to_flags`."""
        return frozenset(name for name, flag in zip(self.classes, flags, strict=True) if flag)


def _meaning(name: str) -> str:
    """What a class is called in the singular, with one word for the voice."""
    singular = re.sub("[_-]", "", name).removesuffix("s")
    return "vocal" if singular in ("vox", "voc", "voice") else singular


def read_taxonomy(text_or_path: str) -> Taxonomy:
    """Reads a taxonomy from a list of classes or from a YAML file.

    The YAML file maps each class to a list of aliases, which may be empty; an alias with `*` is a pattern:

        vocals: [lead, hook]
        drums: ["*loop*"]

    Parameters
    ----------
    text_or_path
        Classes separated by commas, as `vocals,drums,bass`; `family` for all families of instruments; or the path of a
        `.yaml` file.

    Returns
    -------
    Taxonomy
        The classes in the order in which they are named.

    Raises
    ------
    TaxonomyError
        When the file is not that, or a class cannot be used.

    Examples
    --------
    >>> restem.read_taxonomy("vocals, drums")
    Taxonomy('vocals,drums')
    """
    if text_or_path.strip().lower() == FAMILY_CLASSES:
        return Taxonomy(tuple(FAMILIES))
    if not text_or_path.lower().endswith((".yaml", ".yml")):
        return Taxonomy(tuple(part.strip().lower() for part in text_or_path.split(",") if part.strip()))
    from restem.plain_yaml import parse_yaml

    path = as_path(text_or_path)
    try:
        check_ordinary(path)
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TaxonomyError(f"{path}: cannot be read as a taxonomy ({reason}).") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise TaxonomyError(f"{path}: expected one `class: [alias, ...]` a line.")
    aliases: dict[str, str] = {}
    for name, others in content.items():
        if others is not None and not isinstance(others, list):
            raise TaxonomyError(f"{path}: the aliases of {name!r} must be a list, as in `{name}: [a, b]`.")
        for alias in others or []:
            if isinstance(alias, bool) or not isinstance(alias, str | int):
                raise TaxonomyError(f"{path}: the alias {alias!r} of {name!r} is not a word; write it in quotes.")
            if aliases.setdefault(str(alias), name) != name:
                raise TaxonomyError(f"{path}: the alias {alias!r} stands for two classes.")
    try:
        return Taxonomy(tuple(content), aliases)
    except TaxonomyError as error:
        raise TaxonomyError(f"{path}: {error}") from error
