"""Lists a folder in one walk: its audio files, and everything else with the reason why it is skipped."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from restem.addresses import Address, list_objects, wrong_key
from restem.audio.reader import EXTENSIONS
from restem.dataset.table import Skipped, check_relative
from restem.errors import DatasetError

STEM_CONTAINERS = (".stem.mp4", ".stem.m4a")
METADATA_EXTENSIONS = frozenset({".csv", ".json", ".jsonl", ".yaml", ".yml"})

# Audio that is not decoded, so that its reason says what to do. Raw AAC states no length.
_OTHER_AUDIO = frozenset(
    {".aac", ".ac3", ".amr", ".ape", ".dsf", ".mka", ".mkv", ".mov", ".mpc", ".ra", ".tta", ".webm", ".wma"}
)

_LIKE_AUDIO = "a folder, though it is called like an audio file; rename it"


@dataclass(frozen=True)
class AudioFile:
    """An audio file found by `walk`.

    path: relative to the walked folder, with `/`. folders: the names of the folders above it. base: the file name
    without its extension (without all of `.stem.mp4` where it ends with that).
    """

    path: str
    folders: tuple[str, ...]
    base: str

    @property
    def holds_song(self) -> bool:
        """Whether the file is a whole song, its stems being audio streams (`.stem.mp4`, `.stem.m4a`)."""
        return self.path.lower().endswith(STEM_CONTAINERS)


@dataclass
class Found:
    """What `walk` found in the folder `root`.

    metadata: the paths of files that may describe the audio, see `METADATA_EXTENSIONS`; they are in `skipped` as well.
    described_in: a folder or file elsewhere that describes it, if one was named.
    """

    root: Path
    described_in: Path | None = None
    audio: list[AudioFile] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def walk(root: Path, described_in: Path | None = None) -> Found:
    """Visits every file below `root` once.

    At an address, one listing tells of all of them. On a disk, links to files and folders are followed, but no folder
    is entered twice, so a link that leads back up is not followed. A folder is listed under its own name rather than
    that of a link. Folders that cannot be read become `Skipped`.
    Raises DatasetError when `root` itself cannot be read.
    """
    found = Found(root, described_in)
    if isinstance(root, Address):
        _list(root, found)
        return found
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


def _list(root: Address, found: Found) -> None:
    """Sorts all objects below an address in, as the files of a folder are; nothing in their names leads elsewhere."""
    folders: set[str] = set()
    for key in list_objects(root):
        if wrong := wrong_key(key):
            found.skipped.append(Skipped(key, f"{wrong}; rename it"))
            continue
        *above, name = key.split("/")
        hidden = next((depth for depth, part in enumerate((*above, name)) if part.startswith(".")), None)
        for depth, part in enumerate(above[:hidden], start=1):
            path = "/".join(above[:depth])
            if path not in folders and PurePosixPath(part).suffix.lower() in EXTENSIONS:
                found.skipped.append(Skipped(f"{path}/", _LIKE_AUDIO))
            folders.add(path)
        if hidden is None:
            _sort_file(key, tuple(above), name, found)
        elif (path := "/".join((*above, name)[: hidden + 1])) not in folders:
            folders.add(path)
            found.skipped.append(Skipped(path, "hidden"))


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
            found.skipped.append(Skipped(f"{path}/", _LIKE_AUDIO))
        (linked if entry.is_symlink() else waiting).append((*folders, entry.name))
    elif not entry.is_file():
        found.skipped.append(Skipped(path, _special(entry)))
    else:
        _sort_file(path, folders, entry.name, found)


def _sort_file(path: str, folders: tuple[str, ...], name: str, found: Found) -> None:
    """Sorts a file into the audio files or the skipped ones."""
    if (extension := PurePosixPath(name).suffix.lower()) in EXTENSIONS:
        if ("\\" in path or ":" in path) and not _usable_in_tables(path):
            found.skipped.append(Skipped(path, "its path would lead elsewhere on Windows; rename it"))
            return
        cut = len(STEM_CONTAINERS[0]) if name.lower().endswith(STEM_CONTAINERS) else len(extension)
        found.audio.append(AudioFile(path, folders, name[:-cut]))
    else:
        if extension in METADATA_EXTENSIONS:
            found.metadata.append(path)
        if extension in _OTHER_AUDIO:
            reason = f"audio that is not read ({extension}); convert it to WAV, FLAC or M4A"
        else:
            reason = f"not audio ({extension or 'no extension'})"
        found.skipped.append(Skipped(path, reason))


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
