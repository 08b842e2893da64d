"""Public datasets without metadata beside the audio, whose files follow a convention of their own.

    dsd100      Sources/Dev/Song/vocals.wav, Mixtures/Dev/Song/mixture.wav    (`Dev` is the training set)
    ccmixter    Song/source-01.wav (the background), source-02.wav (the voice)
    ikala       Wavfile/10161_chorus.wav: left the music, right the voice; MIR-1K is the same
    urmp        01_Jupiter_vn_vc/AuSep_1_vn_01_Jupiter.wav
    guitarset   audio_mono-mic/00_BN1-129-Eb_comp_mic.wav
    stemgmd     single_stems/Bluebird/drummer1_session1_1/kick.wav

Each is a pattern of the paths of its stems, and a function that says what a matching file holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from restem.dataset.reading.interface import MIXTURE, NOT_LISTED, Item, stem_or_reason
from restem.dataset.splits import FOLDERS, TRAIN
from restem.dataset.table import Skipped
from restem.dataset.walk import Found
from restem.taxonomy import Taxonomy

ACCOMPANIMENT = ("drums", "bass", "other")
"""What is taken to be in the music without the voice."""

# http://www2.ece.rochester.edu/projects/air/projects/URMP.html
_URMP_INSTRUMENTS: Mapping[str, str] = {
    "vn": "violin", "va": "viola", "vc": "cello", "db": "double bass", "fl": "flute", "ob": "oboe", "cl": "clarinet",
    "sax": "saxophone", "bn": "bassoon", "tpt": "trumpet", "hn": "horn", "tbn": "trombone", "tba": "tuba",
}  # fmt: skip


@dataclass(frozen=True)
class Convention:
    """One dataset's.

    tree: where its stems are, for people. stem, mixture: patterns of their paths. items: what a stem's file holds.
    """

    tree: str
    stem: re.Pattern[str]
    mixture: re.Pattern[str]
    items: Callable[[str, re.Match[str], Taxonomy], Iterable[Item]]

    def count(self, found: Found, taxonomy: Taxonomy) -> int:  # noqa: ARG002
        """How many audio files follow it, if any of them is a stem."""
        stems = sum(self.stem.fullmatch(file.path) is not None for file in found.audio)
        return stems and stems + sum(self.mixture.fullmatch(file.path) is not None for file in found.audio)

    def read(self, found: Found, taxonomy: Taxonomy) -> Iterator[Item]:
        """The stems of all files."""
        for file in found.audio:
            if match := self.stem.fullmatch(file.path):
                yield from self.items(file.path, match, taxonomy)
            else:
                mixture = self.mixture.fullmatch(file.path)
                yield Skipped(file.path, MIXTURE if mixture else NOT_LISTED)


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of paths below any folder; the extension is matched, too."""
    return re.compile(rf"(?:.*/)?{text}\.\w+", re.IGNORECASE)


def _dsd100(path: str, match: re.Match[str], taxonomy: Taxonomy) -> Iterator[Item]:
    split = TRAIN if match["split"].lower() == "dev" else FOLDERS[match["split"].lower()]
    yield stem_or_reason(taxonomy, match["song"], path, [match["name"]], split=split)


def _ccmixter(path: str, match: re.Match[str], taxonomy: Taxonomy) -> Iterator[Item]:
    if match["number"] == "1":
        yield _accompaniment(match["song"], path, "background", taxonomy)
    else:
        yield stem_or_reason(taxonomy, match["song"], path, ["voice"], ["vocals"])


def _ikala(path: str, match: re.Match[str], taxonomy: Taxonomy) -> Iterator[Item]:
    yield _accompaniment(match["song"], path, "accompaniment", taxonomy, stream=-1)
    yield stem_or_reason(taxonomy, match["song"], path, ["voice"], ["vocals"], stream=-2)


def _urmp(path: str, match: re.Match[str], taxonomy: Taxonomy) -> Iterator[Item]:
    instrument = _URMP_INSTRUMENTS.get(match["name"].lower(), match["name"])
    yield stem_or_reason(taxonomy, match["song"], path, [instrument], called=match["name"])


def _guitarset(path: str, match: re.Match[str], taxonomy: Taxonomy) -> Iterator[Item]:
    yield stem_or_reason(taxonomy, match["song"], path, ["acoustic guitar"], licence="CC BY 4.0")


def _stemgmd(path: str, match: re.Match[str], taxonomy: Taxonomy) -> Iterator[Item]:
    yield stem_or_reason(taxonomy, match["song"], path, [match["name"]], ["drums"], licence="CC BY 4.0")


def _accompaniment(song: str, path: str, name: str, taxonomy: Taxonomy, stream: int | None = None) -> Item:
    """Everything but the voice: all other classes that there are of the four."""
    return stem_or_reason(taxonomy, song, path, ACCOMPANIMENT, ACCOMPANIMENT, stream=stream, called=name)


CONVENTIONS: Mapping[str, Convention] = {
    "dsd100": Convention(
        "Sources/Dev/song/<class>.wav",
        _pattern(r"Sources/(?P<split>Dev|Test)/(?P<song>[^/]+)/(?P<name>[^/]+)"),
        _pattern(r"Mixtures/(?:Dev|Test)/[^/]+/mixture"),
        _dsd100,
    ),
    "ccmixter": Convention(
        "song/source-01.wav, source-02.wav",
        _pattern(r"(?P<song>[^/]+)/source-0(?P<number>[12])"),
        _pattern(r"[^/]+/mix(?:ture)?"),
        _ccmixter,
    ),
    "ikala": Convention(
        "Wavfile/song.wav, left the music, right the voice",
        _pattern(r"Wavfile/(?P<song>[^/]+)"),
        _pattern(r"UndividedWavfile/[^/]+"),
        _ikala,
    ),
    "urmp": Convention(
        "piece/AuSep_1_<instrument>_piece.wav",
        _pattern(r"(?P<song>[^/]+)/AuSep_\d+_(?P<name>[a-z]+)_[^/]+"),
        _pattern(r"[^/]+/AuMix_[^/]+"),
        _urmp,
    ),
    "guitarset": Convention(
        "audio_mono-mic/take_mic.wav",
        _pattern(r"audio_(?:mono-mic|mono-pickup_mix|hex-pickup_\w+)/(?P<song>\d\d_[^/]+?)_(?:mic|mix|hex|hex_cln)"),
        _pattern(r"audio_mix/[^/]+"),
        _guitarset,
    ),
    "stemgmd": Convention(
        "single_stems/<kit>/take/<drum>.wav",
        _pattern(r"single_stems/(?P<song>[^/]+/.+)/(?P<name>[^/]+)"),
        _pattern(r"mixtures?/.+"),
        _stemgmd,
    ),
}
