"""Safe, unique file names for what restem writes: no name leads out of its folder, and no two are the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable

# What Windows forbids in names, including control characters; a dataset made on one system is often copied to another.
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')

# File systems allow 255 bytes; a counter and the writer's temporary suffix must still fit.
_LONGEST_BYTES = 200


def safe_name(text: str) -> str:
    """`text` as the name of one file or folder, changed as little as possible: `a/b?` -> `a__b_`.

    It is never empty, `.` or `..`, hidden, or too long; a name that had to be cut ends in a hash of the whole.
    """
    name = _FORBIDDEN.sub("_", text.replace("/", "__")).rstrip(". ").lstrip(" ")
    if name.startswith("."):
        name = "_" + name.lstrip(".")
    if len(name.encode()) > _LONGEST_BYTES:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = name.encode()[: _LONGEST_BYTES - 9].decode(errors="ignore") + "-" + digest
    return name or "_"


def safe_path(text: str) -> str:
    """`text` as a relative path: its parts between `/` made safe one by one, `../a` -> `_/a`."""
    return "/".join(safe_name(part) for part in text.split("/"))


class Names:
    """Makes names unique, ignoring case (`A` and `a` are one folder on many systems)."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str, extension: str = "") -> str:
        """`name` + `extension`, or with `_2`, `_3`, ... between them if it was taken before."""
        number, candidate = 1, name + extension
        while candidate.casefold() in self._taken:
            number += 1
            candidate = f"{name}_{number}{extension}"
        self._taken.add(candidate.casefold())
        return candidate


def song_folders(songs: Iterable[str], reserved: Collection[str] = ()) -> dict[str, str]:
    """A folder for each song, as a relative path with `/`; the same songs get the same folders.

    reserved: names that lie beside the folders, which no song's folder gets.
    """
    names, folders = Names(), {}
    for song in dict.fromkeys(songs):
        path = safe_path(song)
        taken = path.partition("/")[0].casefold() in {name.casefold() for name in reserved}
        folders[song] = names.take(f"_{path}" if taken else path)
    return folders
