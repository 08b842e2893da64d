"""What the name of a track says about it: an instrument, the mixture, an effect return, or nothing.

The song's own name is left out first (`My Song - Lead Vox.wav` in `My Song/`): a song called "Bass Culture" is not
bass. So are the words with which all tracks of a song begin, if what remains names instruments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from restem.dataset.reading.interface import MIXTURE
from restem.dataset.table import nfc
from restem.instruments import family_of, names_instruments, words_of

RETURN = "an effect return or a bus, not a stem"
CLICK = "a click or guide track, not a stem"
REST_OF_MIXTURE = "a mixture of several stems, not a stem"

_MIXTURES = {"mixture", "mix", "master", "main", "mixdown", "premaster", "bounce", "fullmix", "mixbus"}
_RESTS = {
    "instrumental", "instrumentals", "accompaniment", "karaoke", "playback", "backingtrack", "minusone", "residual",
}  # fmt: skip
_WITHOUT_VOCALS = {"instrumental", "instrumentals", "accompaniment"}  # the others may hold backing vocals
_RETURNS = {"return", "returns", "rtn", "reverb", "verb", "delay", "dly", "aux", "send", "bus", "buss"}
_ALWAYS_RETURNS = {"return", "returns", "rtn"}
_CLICKS = {"click", "clicktrack", "metronome", "guide", "cue", "countin", "tempo"}
_WITHOUT = re.compile(r"(no|without|minus)(vocal|vox|drum|bass|other|guitar|piano)s?")
# These say nothing beside the words above; with others, such as `pair`, a name is not understood.
_NEUTRAL = {
    "stereo", "st", "l", "r", "left", "right", "full", "final", "rough", "ref", "reference", "print", "lr", "v", "stem",
    "stems", "wav", "out", "output", "the", "of", "demo", "mastered", "unmastered", "track", "fx", "db", "hz", "bpm",
    "edit", "radio", "version",
}  # fmt: skip

# Microphones that hear all instruments, wherever else they stand in a name that says no instrument.
_WHOLE_ROOM = {
    "room", "amb", "ambience", "ambient", "pair", "decca", "xy", "ortf", "hall", "audience", "mains", "stage",
}  # fmt: skip

_NUMBER = re.compile(r"(\d+[\s_.\-)]+)+|\d+(?=[A-Z])")
_FEWEST_SHARING = 3  # tracks; two may begin alike by chance


def track_name(base: str, song: str = "") -> str:
    """The name of a track without the name of its song, its number and separators at its ends.

    >>> track_name("01_KickIn"), track_name("My Song - 03 Lead Vox", "Band/My Song")
    ('KickIn', 'Lead Vox')
    """
    name = without_beginning(nfc(base), nfc(song).rpartition("/")[2]).strip(" _-.")
    if match := _NUMBER.match(name):
        name = name[match.end() :]
    return name.strip(" _-.") or base


def without_beginning(name: str, beginning: str) -> str:
    """`name` without `beginning`, whatever separates the words of either; `name` itself if it does not begin so."""
    wanted = [letter for letter in beginning.lower() if letter.isalnum()]
    matched = 0
    for position, letter in enumerate(name):
        if matched == len(wanted):
            inside_a_word = letter.isalnum() and not (letter.isupper() and name[position - 1].islower())
            return name if inside_a_word else name[position:]
        if letter.isalnum():
            if letter.lower() != wanted[matched]:
                return name
            matched += 1
    return "" if wanted and matched == len(wanted) else name


def without_shared_beginning(names: Sequence[str]) -> list[str]:
    """The names of a song's tracks without the words with which all begin, if most then still name instruments."""
    if len(names) < _FEWEST_SHARING:
        return list(names)
    columns = zip(*map(words_of, names), strict=False)
    words = [column[0] for column in takewhile(lambda column: len({*column}) == 1, columns)]
    if names_instruments(" ".join(words)):
        return list(names)
    shared = "".join(words)
    shorter = [without_beginning(name, shared) for name in names]
    telling = sum(family_of(name, weak=False) is not None for name in shorter)
    return shorter if shared and 2 * telling > len(names) else list(names)


def hears_everything(name: str) -> bool:
    """Whether the track `name` is that of microphones before the whole band, so that nobody knows what it holds."""
    return not _WHOLE_ROOM.isdisjoint(words_of(name)) and family_of(name, weak=False) is None


def lacking(name: str) -> str | None:
    """What a mixture lacks of its song by its name: `Instrumental` -> vocals, `no_drums` -> drum; None for others."""
    words = words_of(name)
    if match := _WITHOUT.fullmatch("".join(words)):
        return match[2]
    return "vocals" if not_a_stem(name) == REST_OF_MIXTURE and _WITHOUT_VOCALS.intersection(words) else None


def not_a_stem(name: str) -> str | None:
    """Why the track `name` is not a stem, by its words; None where it may be one."""
    words = words_of(name)
    joined, telling = "".join(words), {*words} - _NEUTRAL - {word for word in words if word.isdigit()}
    if _ALWAYS_RETURNS.intersection(words):
        return RETURN
    if _WITHOUT.match(joined) or joined in _RESTS or (telling & _RESTS and family_of(name, weak=False) is None):
        return REST_OF_MIXTURE
    if telling and telling <= _MIXTURES:
        return MIXTURE
    if telling & _RETURNS and family_of(name) is None:
        return RETURN
    if telling & _CLICKS and family_of(name) is None:
        return CLICK
    return None
