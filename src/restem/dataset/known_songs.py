"""Facts about songs of public datasets that are not in the datasets themselves.

MUSDB18 has no folder for validation: its own tools (https://github.com/sigsep/sigsep-mus-db, `musdb/configs/mus.yaml`)
keep 14 songs of `train` aside, by name. 46 of its songs come from MedleyDB; the list is that of the Cadenza Challenge
(https://cadenzachallenge.org/docs/icassp_2024/data/tracks_details). Licences are those that the datasets' pages state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from restem.dataset.table import Stem

MUSDB18_LICENCE = "a licence for each track, in tracklist.csv; for academic use"
SDXDB23_LICENCE = "CC BY-NC-SA 4.0"

MUSDB18_VALIDATION: frozenset[str] = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)

_FROM_MEDLEYDB = (
    "A Classic Education - NightOwl", "Aimee Norwich - Child", "Alexander Ross - Goodbye Bolero",
    "Alexander Ross - Velvet Curtain", "Auctioneer - Our Future Faces", "AvaLuna - Waterduct", "BigTroubles - Phantom",
    "Celestial Shore - Die For Us", "Clara Berry And Wooldog - Air Traffic", "Clara Berry And Wooldog - Stella",
    "Clara Berry And Wooldog - Waltz For My Victims", "Creepoid - OldTree", "Dreamers Of The Ghetto - Heavy Love",
    "Faces On Film - Waiting For Ga", "Grants - PunchDrunk", "Helado Negro - Mitad Del Mundo",
    "Hezekiah Jones - Borrowed Heart", "Hop Along - Sister Cities", "Invisible Familiars - Disturbing Wildlife",
    "Lushlife - Toynbee Suite", "Matthew Entwistle - Dont You Ever", "Meaxic - Take A Step", "Meaxic - You Listen",
    "Music Delta - 80s Rock", "Music Delta - Beatles", "Music Delta - Britpop", "Music Delta - Country1",
    "Music Delta - Country2", "Music Delta - Disco", "Music Delta - Gospel", "Music Delta - Grunge",
    "Music Delta - Hendrix", "Music Delta - Punk", "Music Delta - Reggae", "Music Delta - Rock",
    "Music Delta - Rockabilly", "Night Panther - Fire", "Port St Willow - Stay Even", "Secret Mountains - High Horse",
    "Snowmine - Curfews", "Steven Clark - Bounty", "Strand Of Oaks - Spacestation", "Sweet Lights - You Let Me Down",
    "The Districts - Vermont", "The Scarlet Brand - Les Fleurs Du Mal", "The So So Glos - Emergency",
)  # fmt: skip


def letters(name: str) -> str:
    """A name without case, blanks and signs: MedleyDB writes `AClassicEducation_NightOwl`."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


IN_MEDLEYDB_AND_MUSDB18: frozenset[str] = frozenset(map(letters, _FROM_MEDLEYDB))
"""The names, as `letters` writes them, of songs that both datasets hold."""

# A dataset of songs is MUSDB18 when so many of them are known by name: of all of MUSDB18 it is 0.38.
_KNOWN_SHARE = 0.25
# The folders as they unpack: sdxdb23_labelnoise_v1.0, moisesdb23_bleeding_v1.0.
_SDXDB23 = re.compile(r"(?:sdxdb|moisesdb)[ _-]?23.*(?P<kind>label[ _-]?noise|bleeding).*", re.IGNORECASE)


def kept_aside_in_musdb18(songs: Iterable[str]) -> set[str]:
    """Those of the songs that MUSDB18's own tools validate on."""
    return {song for song in songs if song.rpartition("/")[2] in MUSDB18_VALIDATION}


def with_known_facts(stems: Iterable[Stem], folder: str) -> list[Stem]:
    """Stems with the licence, and for SDXDB23 the bleed, of the dataset that their songs or its folder tell.

    folder: the name of the dataset's folder. What the stems state themselves stays.
    """
    stems = list(stems)
    songs = {stem.song.rpartition("/")[2] for stem in stems}
    known = sum(song in MUSDB18_VALIDATION or letters(song) in IN_MEDLEYDB_AND_MUSDB18 for song in songs)
    if match := _SDXDB23.fullmatch(folder):
        bleed, licence = "yes" if match["kind"].lower() == "bleeding" else "no", SDXDB23_LICENCE
    elif stems and known >= _KNOWN_SHARE * len(songs):
        bleed, licence = "", MUSDB18_LICENCE
    else:
        return stems
    return [replace(stem, bleed=stem.bleed or bleed, licence=stem.licence or licence) for stem in stems]
