"""An array in a file, of which parts are read when they are asked for.

A memory map holds a file descriptor for as long as it lives, and a process may have 1,024 or only 256 of them, while a
dataset has thousands of stems. So a part is read by opening the file, reading and closing it. In return the file may
disappear, or change, in between: that is an error then.
"""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np

from restem.errors import RestemError


class Rows(Protocol):
    """An array of which ranges of rows can be had: a numpy array, or a `StoredArray`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class StoredArray:
    """An array `shape` of `dtype`, which begins at the byte `offset` of a file."""

    def __init__(self, path: Path | str, dtype: type[np.generic] | str, offset: int, shape: tuple[int, ...]) -> None:
        self._name = str(path)
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self._offset = offset
        self._row_bytes = prod(shape[1:]) * self.dtype.itemsize

    def checked(self) -> StoredArray:
        """Itself; raises ValueError if the file ends before the array does, and OSError when it is not there."""
        if min(self.shape) < 0 or Path(self._name).stat().st_size < self._offset + self.shape[0] * self._row_bytes:
            raise ValueError("the array is cut off")
        return self

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """The rows of a range without a step, read-only; raises RestemError when they cannot be read."""
        start, stop, step = rows.indices(len(self))
        assert step == 1
        shape = (max(0, stop - start), *self.shape[1:])
        content = self._read(self._offset + start * self._row_bytes, shape[0] * self._row_bytes)
        return np.frombuffer(content, self.dtype).reshape(shape)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All of it."""
        return self[:].astype(dtype or self.dtype, copy=bool(copy))

    def _read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on."""
        content = b""
        try:
            # Without Python's file objects, which take twice as long.
            file = os.open(self._name, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                # One call reads at most 2 GB.
                while len(content) < size and (part := _pread(file, size - len(content), offset + len(content))):
                    content = content + part if content else part
            finally:
                os.close(file)
        except FileNotFoundError as error:
            raise RestemError(f"{self._name}: has gone; run the command again.") from error
        except OSError as error:
            raise RestemError(f"{self._name}: cannot be read ({error.strerror}).") from error
        if len(content) < size:
            raise RestemError(f"{self._name}: is cut off; delete it, and run the command again.")
        return content


class PickedRows:
    """Some rows of an array, in rising order, read when they are asked for."""

    def __init__(self, rows: Rows, picked: np.ndarray) -> None:
        self.rows = rows
        self.picked = picked
        self.shape = (len(picked), *rows.shape[1:])

    def __len__(self) -> int:
        return len(self.picked)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Neighbours are read at once."""
        wanted = self.picked[rows]
        return np.concatenate([self.rows[0:0], *(self.rows[one[0] : one[-1] + 1] for one in _runs(wanted))])


class ArrayFile:
    """An array `shape` of `dtype` in a new file, which is filled in parts: one that may be larger than the memory."""

    def __init__(self, path: Path, dtype: type[np.generic] | str, shape: tuple[int, ...]) -> None:
        self.array = StoredArray(path, dtype, 0, shape)
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.truncate(path, prod(shape) * self.array.dtype.itemsize)

    def put(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Writes `values` to `rows`, which rise."""
        values = np.ascontiguousarray(values, self.array.dtype)
        done = 0
        with self._path.open("r+b") as file:
            for run in _runs(rows):
                file.seek(int(run[0]) * values[0].nbytes)
                file.write(values[done : done + len(run)].data)
                done += len(run)


def _runs(rising: np.ndarray) -> list[np.ndarray]:
    """Rising numbers, divided where one is left out."""
    return np.split(rising, np.flatnonzero(np.diff(rising) != 1) + 1) if len(rising) else []


def _pread(file: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, size, offset)
    os.lseek(file, offset, os.SEEK_SET)  # Windows
    return os.read(file, size)
