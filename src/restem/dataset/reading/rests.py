"""Mixtures of all classes of a song but one, as `instrumental.wav` and `no_drums.wav`.

They are no stems of a class, so they are skipped. A training or measurement of one class against the rest uses them,
see `restem.dataset.targets`.
"""

from __future__ import annotations

from restem.dataset.reading.track_names import REST_OF_MIXTURE, lacking, not_a_stem
from restem.dataset.table import Skipped, Stem, nfc
from restem.taxonomy import Taxonomy


def rest_of_song(name: str, song: str, path: str, split: str, taxonomy: Taxonomy) -> Skipped | None:
    """The file `path` of a song, if its name `name` is that of a mixture of several stems; else None."""
    if not_a_stem(name) != REST_OF_MIXTURE:
        return None
    lacks = taxonomy.match(lacking(name) or "")
    holds = frozenset(taxonomy.classes) - {lacks}
    stem = Stem(nfc(song), path, holds, split=split, instrument=nfc(name)) if lacks and holds else None
    return Skipped(path, REST_OF_MIXTURE, stem)
