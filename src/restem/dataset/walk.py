"""Lists a folder in one walk: its audio files, and everything else with the reason why it is skipped."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from restem.audio.reader import EXTENSIONS
from restem.dataset.table import Skipped, check_relative
from restem.errors import DatasetError

STEM_CONTAINER = ".stem.mp4"


@dataclass(frozen=True)
class AudioFile:
    """An audio file found by `walk`.

    path: relative to the walked folder, with `/`. folders: the names of the folders above it. base: the file name
    without its extension (without `.stem.mp4` where it ends with that).
    """

    path: str
    folders: tuple[str, ...]
    base: str

    @property
    def holds_song(self) -> bool:
        """Whether the file is a whole song, its stems being audio streams (MUSDB18's `.stem.mp4`)."""
        return self.path.lower().endswith(STEM_CONTAINER)


@dataclass
class Found:
    """What `walk` found; tables are the CSV files that lie directly in the folder."""

    audio: list[AudioFile] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def walk(root: Path) -> Found:
    """Visits every file below `root` once.

    Links to files and folders are followed, but no folder is entered twice, so a link that leads back up is not
    followed. A folder is listed under its own name rather than that of a link. Folders that cannot be read become
    `Skipped`.
    Raises DatasetError when `root` itself cannot be read.
    """
    found = Found()
    entered: dict[tuple[int, int], str] = {}
    waiting: list[tuple[str, ...]] = [()]
    linked: list[tuple[str, ...]] = []
    while waiting or linked:
        folders = waiting.pop() if waiting else linked.pop(0)
        path = "/".join(folders)
        try:
            status = (root / path).stat()
            if first := entered.get((status.st_dev, status.st_ino)):
                found.skipped.append(Skipped(path + "/", f"a link to {first}, which is read already"))
                continue
            entered[status.st_dev, status.st_ino] = path + "/" if path else "the dataset's own folder"
            with os.scandir(root / path) as entries:
                for entry in entries:
                    try:
                        _sort_in(entry, folders, found, waiting, linked)
                    except OSError as error:
                        reason = f"cannot be read ({error.strerror})"
                        found.skipped.append(Skipped("/".join((*folders, entry.name)), reason))
        except OSError as error:
            if not folders:
                raise DatasetError(f"{root}: cannot be read ({error.strerror}); change its permissions.") from error
            found.skipped.append(Skipped(path + "/", f"cannot be read ({error.strerror})"))
    return found


def _sort_in(
    entry: os.DirEntry[str],
    folders: tuple[str, ...],
    found: Found,
    waiting: list[tuple[str, ...]],
    linked: list[tuple[str, ...]],
) -> None:
    """Sorts one entry of a folder into the audio files, the folders to enter, or the skipped files."""
    path = "/".join((*folders, entry.name))
    try:
        path.encode()
    except UnicodeEncodeError:
        readable = os.fsencode(path).decode(errors="replace")
        found.skipped.append(Skipped(readable, "its name is not valid UTF-8; rename it"))
        return
    if entry.name.startswith("."):
        found.skipped.append(Skipped(path, "hidden"))
    elif entry.is_dir():
        if PurePosixPath(entry.name).suffix.lower() in EXTENSIONS:
            found.skipped.append(Skipped(f"{path}/", "a folder, though it is called like an audio file; rename it"))
        (linked if entry.is_symlink() else waiting).append((*folders, entry.name))
    elif not entry.is_file():
        found.skipped.append(Skipped(path, _special(entry)))
    elif (extension := PurePosixPath(entry.name).suffix.lower()) in EXTENSIONS:
        if ("\\" in path or ":" in path) and not _usable_in_tables(path):
            found.skipped.append(Skipped(path, "its path would lead elsewhere on Windows; rename it"))
            return
        cut = len(STEM_CONTAINER) if entry.name.lower().endswith(STEM_CONTAINER) else len(extension)
        found.audio.append(AudioFile(path, folders, entry.name[:-cut]))
    else:
        if extension == ".csv" and not folders:
            found.tables.append(path)
        found.skipped.append(Skipped(path, f"not audio ({extension or 'no extension'})"))


def _usable_in_tables(path: str) -> bool:
    """Whether `path` passes the check of paths read from tables: not `..\\x.wav` or `C:/x.wav`."""
    try:
        check_relative(path, "")
    except DatasetError:
        return False
    return True


def _special(entry: os.DirEntry[str]) -> str:
    """Why an entry that is neither a folder nor a readable file is skipped."""
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "a link that leads nowhere" if stat.S_ISLNK(mode) else "neither a file nor a folder"
