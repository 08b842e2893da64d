"""Which files are the songs to be separated, and what each song is called."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from restem.addresses import as_path
from restem.audio.reader import EXTENSIONS
from restem.errors import RestemError

_MIXTURES = ("mixture", "mix")
"""What the file of a whole song is called among its stems."""


def audio_files(paths: Sequence[Path | str]) -> list[Path]:
    """The songs that paths, patterns and folders name, in alphabetical order within each.

    A pattern (`songs/*.mp3`) is one that the shell has left as it is. In a folder the songs are the audio files in it;
    where it holds folders of songs with their stems, as MUSDB18-HQ does, only the files called `mixture` or `mix` are.
    Raises RestemError when a pattern or folder leads to nothing; a file that is missing is left to `separate`.
    """
    found: list[Path] = []
    for path in map(as_path, paths):
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in EXTENSIONS and one.is_file())
            mixtures = [one for one in inside if one.stem.lower() in _MIXTURES]
            songs = mixtures or [one for one in inside if one.parent == path]
        elif not path.exists() and any(sign in str(path) for sign in "*?["):
            songs = [Path(one) for one in sorted(glob(str(path)))]  # noqa: PTH207, since Path's takes no absolute pattern
        else:
            songs = [path]
        if not songs:
            raise RestemError(
                f"{path}: holds no song; name audio files, or a folder of them or of songs with a mixture.wav."
            )
        found += songs
    return found


def song_name(path: Path) -> str:
    """What a song is called: as its file, or a mixture among stems as its folder."""
    return path.absolute().parent.name if path.stem.lower() in _MIXTURES else path.stem
