"""Copies of objects on this machine: one for as long as it is read, or a whole folder that stays.

A stem at an address is decoded from a copy in scratch (`TMPDIR`), which is deleted when it has been read; that of a
process that was killed is deleted by whoever fetches next. What is made at an address, and what is read as a whole,
such as a run, has a folder in the user's data folder: it survives interruptions, and holds people's decisions.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path

from platformdirs import user_data_path

from restem.addresses import Address, Stored, download, list_objects, told_of, upload, wrong_key
from restem.dry_running import work_begins
from restem.errors import RestemError, RunError, UsageError
from restem.file_names import safe_name
from restem.files import folder_written_aside, read_json, scratch_folder, write_json

_DECISIONS, _REPORT = ("decisions.sqlite", "judgements.sqlite"), "report.html"

_kept: ContextVar[tuple[ExitStack, dict[str, Path]] | None] = ContextVar("kept", default=None)


@contextmanager
def fetched(path: Path) -> Iterator[Path]:
    """Gives `path` itself, or, of an address, a copy with its extension for as long as the body runs.

    Raises FileNotFoundError where there is no such object; RestemError where it cannot be read, or was replaced since
    it was listed.
    """
    if not isinstance(path, Address):
        yield path
        return
    kept = _kept.get()
    if kept is None:
        with _copy(path) as copy:
            yield copy
        return
    stack, copies = kept
    if str(path) not in copies:
        copies[str(path)] = stack.enter_context(_copy(path))
    yield copies[str(path)]


@contextmanager
def keeping() -> Iterator[None]:
    """Keeps what is `fetched` in the body until its end, so that nothing is fetched twice."""
    with ExitStack() as stack:
        token = _kept.set((stack, {}))
        try:
            yield
        finally:
            _kept.reset(token)


class Copies:
    """Copies of the objects that were asked for last, each there until several others were."""

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._open: dict[Path, tuple[ExitStack, Path]] = {}
        self._lock = threading.Lock()

    def of(self, path: Path) -> Path:
        """`path` itself, or the copy of an address; raises as `fetched` does."""
        if not isinstance(path, Address):
            return path
        with self._lock:
            if path not in self._open:
                with ExitStack() as stack:
                    copy = stack.enter_context(_copy(path))
                    self._open[path] = stack.pop_all(), copy
            self._open[path] = self._open.pop(path)  # it was asked for last
            if len(self._open) > self._most:
                self._open.pop(next(iter(self._open)))[0].close()
            return self._open[path][1]

    def close(self) -> None:
        """Deletes all copies."""
        with self._lock:
            while self._open:
                self._open.popitem()[1][0].close()


@contextmanager
def _copy(address: Address) -> Iterator[Path]:
    with scratch_copy() as folder:
        # Of the name, which is anybody's, only the extension is taken.
        suffix = "".join(letter for letter in address.suffix.lower() if letter.isalnum())
        copy = folder / (f"object.{suffix}" if suffix else "object")
        expected = address.stored()
        with told_of(address):
            system, key = address.opened()
            system.get_file(key, str(copy))
        if copy.stat().st_size != expected.size or address.ask() != expected:
            raise RestemError(f"{address}: was replaced since it was listed; run the command again.")
        yield copy


@contextmanager
def named(path: Path, copy: Path) -> Iterator[None]:
    """Lets errors that name a copy name what it is a copy of."""
    try:
        yield
    except RestemError as error:
        if path is copy or str(copy) not in str(error):
            raise
        raise type(error)(str(error).replace(str(copy), str(path))) from error


@contextmanager
def scratch_copy() -> Iterator[Path]:
    """Gives a folder in scratch, for what is on its way to an address; it is deleted at the end."""
    with scratch_folder(_scratch() / "object") as folder:
        yield folder


def _scratch() -> Path:
    """A folder for short-lived copies that only this user can enter."""
    folder = Path(tempfile.gettempdir()) / f"restem-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise RestemError(f"{folder}: belongs to somebody else; set TMPDIR to a folder of your own.")
    return folder


def copy_of(address: Address) -> Path:
    """The folder on this machine that stands for an address; it need not exist."""
    try:
        folder = user_data_path("restem", appauthor=False)
    except RuntimeError:  # of Path.expanduser
        folder = Path()
    if not folder.is_absolute():
        raise UsageError("There is no home folder for copies of what is at an address; set XDG_DATA_HOME.")
    digest = hashlib.sha256(str(address).encode()).hexdigest()[:16]
    return folder / "addresses" / f"{safe_name(address.name)}-{digest}" / "copy"


def fetched_folder(address: Address, last: str, needed: str) -> Path:
    """A copy of a finished folder at an address, brought up to date.

    What was changed in the copy, such as by decisions, stays as long as the address holds the same. last: the file that
    makes the folder complete. needed: what is not there without it, for the message. Raises RunError where there is no
    finished folder, or it has changed and something was decided about what it held before.
    """
    objects = list_objects(address)
    if last not in objects:
        raise RunError(f"{address}: {needed}.")
    copy = copy_of(address)
    if _record(copy) == _as_json(objects):
        return copy
    _check_undecided(address, copy)
    if wrong := next((name for name in objects if wrong_key(name)), None):
        raise RunError(f"{address}: holds an object {wrong!r}, which restem has not put there; delete it.")
    work_begins()
    shutil.rmtree(copy, ignore_errors=True)
    try:
        with folder_written_aside(copy) as folder:
            download([(address / name, folder / name) for name in objects])
    except FileNotFoundError as error:
        raise RunError(f"{address}: changes while it is read; run the command again.") from error
    write_json(_record_path(copy), _as_json(objects))
    return copy


def _check_undecided(address: Address, copy: Path) -> None:
    """Raises RunError when deleting the copy would lose decisions."""
    for name in _DECISIONS:
        if (copy / name).exists():
            raise RunError(
                f"{address}: holds something else than when people decided about it; keep {copy / name} (of a run, "
                f"`restem review {copy} --export-decisions FILE`), and delete {copy.parent}."
            )


@contextmanager
def put_when_done(out: Path, last: str, what: str) -> Iterator[Path]:
    """Gives the folder to work in: `out` itself, or, of an address, its copy here, which is put there at the end.

    last: the file that makes it complete, which is put there last. what: what it is, for messages. What is finished at
    the address is fetched, so that it can be read back. Interrupted work goes on in the copy. Raises RunError when the
    address holds anything else.
    """
    if not isinstance(out, Address):
        yield out
        return
    objects, copy = list_objects(out), copy_of(out)
    begun = copy.with_name("begun")  # to put it there
    if last in objects:
        fetched_folder(out, last, f"holds no finished {what}")
    elif objects and not begun.exists():
        raise RunError(f"{out}: is not empty and holds no {what}; choose another `out`.")
    elif _record(copy) is not None:
        # It was put there, and has been deleted there since.
        _check_undecided(out, copy)
        work_begins()
        shutil.rmtree(copy.parent)
    try:
        with named(out, copy):
            yield copy
    except RunError as error:
        if last in objects or not copy.is_dir():
            raise
        raise RunError(f"{error} What was begun is in {copy.parent}.") from error
    if last in objects:
        return
    begun.touch()
    upload([(path, out / name) for name, path in _finished(copy) if name != last])
    upload([(copy / last, out / last)])
    write_json(_record_path(copy), _as_json(list_objects(out)))
    begun.unlink()


def _finished(folder: Path) -> list[tuple[str, Path]]:
    """The files of finished work, by name: not locks, which begin with a dot, and not decisions."""
    files = [(path.relative_to(folder).as_posix(), path) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(name, path) for name, path in files if not name.startswith((".", *_DECISIONS))]


@contextmanager
def put_below(out: Path) -> Iterator[Path]:
    """Gives `out` itself, or, of an address, a folder in scratch, whose files are put there at the end."""
    if not isinstance(out, Address):
        yield out
        return
    with scratch_copy() as folder:
        yield folder
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        upload([(path, out / path.relative_to(folder).as_posix()) for path in files])


def _record_path(copy: Path) -> Path:
    return copy.with_name("objects.json")


def _record(copy: Path) -> dict[str, list[int | str]] | None:
    """What was at the address when it was copied; None if it was not, or the copy has gone."""
    try:
        return dict(read_json(_record_path(copy))) if copy.is_dir() else None
    except (OSError, ValueError):
        return None


def _as_json(objects: dict[str, Stored]) -> dict[str, list[int | str]]:
    """For the record; without the report, which may be written again, and makes nothing else of a run."""
    return {name: list(stored) for name, stored in sorted(objects.items()) if name != _REPORT}
