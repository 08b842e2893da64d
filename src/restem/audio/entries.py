"""On-disk stores of what is computed once from the audio of a stem, one file per stem.

An entry is one file, `<key><suffix>`: a JSON header padded to 4096 bytes, then the data. The key is a hash of the
identity of the stem's file (`content.file_identity` and the audio stream) and of the store's settings, not of its path:
a dataset may be moved or reached by another path, and a changed file is computed again. An entry appears under its name
only when it is complete, so a kill at any moment leaves no damaged entry; deleting entries is always safe.

A store at an address is shared by several machines: each entry is put there once, and read from a copy on this one.
"""

from __future__ import annotations

import errno
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Generic, TypeVar

from restem.addresses import Address, download, list_objects, upload
from restem.audio.cache_folder import default_cache
from restem.content import file_identity
from restem.errors import AudioError, RestemError
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.files import written_aside
from restem.progress import Report

HEADER_BYTES = 4096
KEY_DIGITS = 40

Source = tuple[Path, int]
"""A file and the index of the audio stream in it."""

Entry = TypeVar("Entry")

_AT_ONCE = 16  # entries that are copied from an address

_TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


class EntryStore(ABC, Generic[Entry]):
    """A store in one folder, on a disk or at an address, for one set of settings.

    what: everything an entry depends on besides the stem, as JSON values, including the version of its format.
    """

    suffix: ClassVar[str]
    contents: ClassVar[str]
    """What an entry holds, for messages."""
    gpus = 0
    """How many GPUs computing an entry uses."""

    def __init__(self, folder: Path, *what: Any) -> None:
        self.folder = folder
        self._here = folder
        if isinstance(folder, Address):
            self._here = default_cache() / "of-addresses" / hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        self._what = what

    @property
    def is_at_address(self) -> bool:
        """Whether entries are kept in object storage, and read from copies."""
        return isinstance(self.folder, Address)

    @abstractmethod
    def _read(self, source: Source, entry: Path, header: Mapping[str, Any]) -> Entry:
        """Reads an entry from its file and header. May raise OSError, ValueError, KeyError, TypeError if damaged."""

    @abstractmethod
    def _write(self, source: Source, file: BinaryIO) -> Mapping[str, Any]:
        """Writes the data of a stem's entry and returns its header. Raises AudioError when it cannot be decoded."""

    def entry(self, source: Source) -> Path:
        """The path of a stem's entry on this machine, which need not exist.

        Raises AudioError when the stem's file cannot be read.
        """
        return self.path(self.key(source))

    def path(self, key: str) -> Path:
        """Where the entry with a key is on this machine."""
        return self._here / key[:2] / f"{key}{self.suffix}"

    def key(self, source: Source) -> str:
        """What names a stem's entry. Raises as `entry` does."""
        path, stream = source
        try:
            identity = [*file_identity(path), stream, *self._what]
        except OSError as error:
            if error.errno in _TOO_MANY_OPEN:  # that is not the file's fault
                raise RestemError(f"{path}: cannot be read ({error.strerror}); {_remedy(error)}.") from error
            raise AudioError(f"{path}: {(error.strerror or 'cannot be read').lower()}.") from error
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:KEY_DIGITS]

    def load(self, source: Source) -> Entry | None:
        """A stem's entry, or None when it does not exist or is damaged.

        Raises RestemError when it cannot be read for another reason, such as too many open files.
        """
        return self._load(source, self.entry(source))

    def _load(self, source: Source, entry: Path) -> Entry | None:
        if isinstance(self.folder, Address) and not entry.exists():
            self._bring([entry])
        try:
            with entry.open("rb") as file:
                header = json.loads(file.read(HEADER_BYTES))
            return self._read(source, entry, header)
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, OverflowError):
            return None
        except OSError as error:
            raise RestemError(f"{entry}: cannot be read ({error.strerror}); {_remedy(error)}.") from error

    def require(self, source: Source) -> Entry:
        """A stem's entry, which must exist by now; raises RestemError when it has been deleted."""
        return self._found(source, self.load(source))

    def absent(self, sources: Sequence[Source]) -> list[bool]:
        """Whether each stem's entry is known to be missing: of a store at an address, which is asked once for all."""
        shared = set(list_objects(self.folder)) if isinstance(self.folder, Address) else None

        def is_absent(source: Source) -> bool:
            try:
                return shared is not None and not self._is_there(source, shared)
            except AudioError:
                return False

        return list(map(is_absent, sources))

    def ensure(self, source: Source, is_absent: bool = False) -> tuple[str, Entry]:
        """A stem's key and its entry, which is computed if it is missing. is_absent: see `absent`.

        Raises as `compute` does.
        """
        key = self.key(source)
        found = None if is_absent else self._load(source, self.path(key))
        if found is None:
            self._compute(source, self.path(key))
            found = self._load(source, self.path(key))
        return key, self._found(source, found)

    def _found(self, source: Source, entry: Entry | None) -> Entry:
        if entry is None:
            raise RestemError(f"{source[0]}: its {self.contents} have gone from {self.folder}; run the command again.")
        return entry

    def compute(self, source: Source) -> None:
        """Computes a stem's entry and writes it.

        Raises AudioError when the stem cannot be decoded, RestemError when the entry cannot be written.
        """
        self._compute(source, self.entry(source))

    def _compute(self, source: Source, entry: Path) -> None:
        try:
            with written_aside(entry) as aside, aside.open("wb") as file:
                file.seek(HEADER_BYTES)
                header = self._write(source, file)
                file.seek(0)
                file.write(json.dumps(header).encode().ljust(HEADER_BYTES))
                file.close()
                if isinstance(self.folder, Address):
                    upload([(aside, self.folder / entry.relative_to(self._here).as_posix())])
        except OSError as error:
            raise RestemError(f"{entry.parent}: cannot be written ({error.strerror}); {_remedy(error)}.") from error

    def is_missing(self, source: Source) -> bool:
        """Whether a stem's entry has yet to be computed; False for a stem whose file cannot be read."""
        try:
            return self.load(source) is None
        except AudioError:
            return False

    def try_out(self, source: Source) -> int:
        """Computes a stem's entry without keeping it, to see how long that takes; returns how many bytes it has.

        Raises AudioError when the stem cannot be decoded.
        """
        file = BytesIO()
        self._write(source, file)
        return len(file.getvalue())

    def fill(
        self, sources: list[Source], executor: Executor = IN_THIS_PROCESS, report: Report | None = None
    ) -> dict[int, str]:
        """Computes the missing entries. Returns the sources that failed, as index -> reason.

        report: called with the number of sources done and their total.
        """
        failures: dict[int, str] = {}
        missing: list[int] = []
        shared = set(list_objects(self.folder)) if isinstance(self.folder, Address) else set()
        for index, source in enumerate(sources):
            try:
                if not self._is_there(source, shared):
                    missing.append(index)
            except AudioError as error:
                failures[index] = str(error)
        done = len(sources) - len(missing)
        compute, stems = partial(_failure, self), [sources[index] for index in missing]
        for position, reason in executor.map_unordered(compute, stems, gpus=self.gpus, lost=lost_stem):
            if reason is not None:
                failures[missing[position]] = reason
            done += 1
            if report is not None:
                report(done, len(sources))
        if isinstance(self.folder, Address):
            entries = {self.entry(source) for index, source in enumerate(sources) if index not in failures}
            self._bring(sorted(entry for entry in entries if not entry.exists()))
        return failures

    def _is_there(self, source: Source, shared: Collection[str]) -> bool:
        """Whether a stem's entry need not be computed. shared: what a store at an address holds."""
        if isinstance(self.folder, Address):
            return self.entry(source).relative_to(self._here).as_posix() in shared
        return self.load(source) is not None

    def bring(self, keys: Iterable[str]) -> Path:
        """Copies the entries with these keys to this machine, if the store lies at an address and they are not here.

        Returns the folder in which all entries are on this machine.
        """
        if isinstance(self.folder, Address):
            self._bring([entry for entry in map(self.path, keys) if not entry.exists()])
        return self._here

    def _bring(self, entries: Sequence[Path]) -> None:
        """Copies those of the entries to this machine that a store at an address holds."""
        if not isinstance(self.folder, Address):
            return
        address = self.folder

        def bring(entry: Path) -> None:
            with suppress(FileNotFoundError), written_aside(entry) as aside:
                download([(address / entry.relative_to(self._here).as_posix(), aside)])

        with ThreadPoolExecutor(_AT_ONCE) as pool:  # it waits for answers, most of the time
            list(pool.map(bring, entries))


def _remedy(error: OSError) -> str:
    if error.errno in _TOO_MANY_OPEN:
        return "raise the limit with `ulimit -n`"
    return "choose another `cache`"


def _failure(store: EntryStore, source: Source) -> str | None:
    """Computes an entry, possibly in a worker process; returns why it failed, or None."""
    try:
        store.compute(source)
    except AudioError as error:
        return str(error)
    return None


def lost_stem(source: Source, reason: str) -> str:
    """Why a stem whose decoding ended its process every time cannot be used."""
    return f"{source[0]}: cannot be decoded: {reason}."
