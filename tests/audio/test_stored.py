"""Arrays in files, of which parts are read and written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from restem.audio.stored import ArrayFile, PickedRows


def test_parts_are_written_where_they_belong(tmp_path: Path) -> None:
    expected = np.arange(60, dtype=np.float32).reshape(20, 3)
    file = ArrayFile(tmp_path / "new" / "rows", np.float32, (20, 3))
    parts = np.random.default_rng(0).permutation(20)
    for rows in (np.sort(parts[:7]), np.sort(parts[7:8]), np.sort(parts[8:]), np.zeros(0, np.int64)):
        file.put(rows, expected[rows])
    np.testing.assert_array_equal(file.array[:], expected)


@given(st.sets(st.integers(0, 19)), st.integers(0, 20), st.integers(0, 20))
def test_picked_rows_are_those_of_the_array(picked: set[int], first: int, last: int) -> None:
    array = np.arange(60).reshape(20, 3)
    indices = np.array(sorted(picked), np.int64)
    rows = PickedRows(array, indices)
    assert len(rows) == len(indices) and rows.shape == (len(indices), 3)
    np.testing.assert_array_equal(rows[first:last], array[indices][first:last])
