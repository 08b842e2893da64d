"""Links or copies a stem to a new path, without changing the original."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Literal, get_args

from restem.addresses import Address
from restem.audio.reader import open_audio
from restem.audio.writer import write_blocks
from restem.errors import DatasetError
from restem.fetching import fetched

Link = Literal["symlink", "hard", "copy"]
LINKS: tuple[Link, ...] = get_args(Link)


def link_file(source: Path, target: Path, link: Link) -> None:
    """Makes `target` a link to the file `source`, or a copy of it; the folder of `target` is made if it is missing.

    A symbolic link names the absolute path of `source`, so that it survives a move of `target`'s folder.
    Raises DatasetError when the file system refuses, AudioError for an object that is not there any more.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if isinstance(source, Address):
            with fetched(source) as copy:
                shutil.copyfile(copy, target)
        elif link == "symlink":
            target.symlink_to(source.absolute())
        elif link == "hard":
            os.link(source.resolve(), target)
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        raise DatasetError(f"{source}: {_refusal(error, link)}") from error


def decode_stream(source: Path, stream: int, target: Path) -> None:
    """Decodes one stream of a file with several to the WAV file `target`.

    It is written as 32-bit float, which holds exactly what was decoded: no rounding, and no clipping above full scale.
    Raises AudioError when the stream cannot be decoded.
    """
    with open_audio(source, stream) as audio:
        write_blocks(target, audio.blocks(), audio.info.rate_hz, audio.info.channels, "FLOAT")


def _refusal(error: OSError, link: Link) -> str:
    if link == "hard" and error.errno == errno.EXDEV:
        return "lies on another disk than the export, so it cannot be hard-linked; use `link='symlink'` or `copy`."
    if link != "copy" and error.errno != errno.ENOENT:
        return f"cannot be linked ({error.strerror}); use `link='copy'`."
    return f"cannot be exported ({error.strerror})."
