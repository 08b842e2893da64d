"""What should be known about a dataset as a whole: mixed licences, bleed, songs that two datasets share, chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from restem.dataset.known_songs import IN_MEDLEYDB_AND_MUSDB18, letters
from restem.dataset.reading.named import CHUNK
from restem.dataset.splits import TEST
from restem.dataset.table import Stem
from restem.wording import counted


def notes_on(stems: Sequence[Stem]) -> Iterator[str]:
    """The notes, one sentence each."""
    licences = Counter(stem.licence for stem in stems)
    if len(licences) > 1:
        parts = ", ".join(f"{name or 'none stated'} ({counted(n, 'stem')})" for name, n in licences.most_common())
        yield f"Licences are mixed: {parts}; what is made from all of them falls under all of them."
    yield from _overlaps(stems)
    if any(CHUNK.fullmatch(folder) for stem in stems for folder in stem.path.split("/")[:-1]):
        yield "Chunks of a song are taken as one song, which keeps them in one fold; their sum is not a mixture."


def _overlaps(stems: Sequence[Stem]) -> Iterator[str]:
    """Songs that are there under two names, and songs that another dataset has as well."""
    songs = {stem.song: stem.split for stem in stems}
    spellings: dict[str, list[str]] = {}
    for song in songs:
        spellings.setdefault(letters(song.rpartition("/")[2]), []).append(song)
    twice = [names for key, names in spellings.items() if key in IN_MEDLEYDB_AND_MUSDB18 and len(names) > 1]
    if twice:
        leaks = sum(TEST in {songs[name] for name in names} for names in twice)
        yield (
            f"{counted(len(twice), 'song')} of MedleyDB and MUSDB18 are there twice, such as {' and '.join(twice[0])}"
            f"{f'; {leaks} of them are in the split test' if leaks else ''}. Remove one of each pair."
        )
    elif shared := sum(key in IN_MEDLEYDB_AND_MUSDB18 for key in spellings):
        yield (
            f"{counted(shared, 'song')} are in both MedleyDB and MUSDB18: do not train on one of these datasets and "
            "evaluate on the other without leaving them out."
        )
