"""TensorFlow's checkpoints: what is written is read, and whatever is wrong is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restem.errors import RestemError
from restem.labelling.encoders.checkpoint import crc32c, read_index, read_tensors

Bundle = Callable[..., tuple[bytes, bytes]]


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {f"layer_{n}/kernel": rng.standard_normal((2, n + 1)).astype(np.float32) for n in range(20)}
    return {**made, "layer/scalar": np.array(2.5, np.float32), "step": np.array([7], np.int64)}


def test_the_checksum_is_castagnolis() -> None:
    # The check values of RFC 3720, appendix B.4.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_reads_what_was_written(make_bundle: Bundle) -> None:
    wanted = tensors()
    index, data = make_bundle(wanted)
    names = [name for name in wanted if name != "step"]
    found = read_tensors(index, data, names)
    assert list(found) == names
    for name in names:
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], wanted[name])


def test_tensors_of_other_types_are_left_out(make_bundle: Bundle) -> None:
    index, data = make_bundle(tensors())
    assert "step" not in read_index(index)
    with pytest.raises(RestemError, match="no tensor step"):
        read_tensors(index, data, ["step"])


def test_truncated_data(make_bundle: Bundle) -> None:
    index, data = make_bundle(tensors())
    with pytest.raises(RestemError, match="truncated"):
        read_tensors(index, data[:-20], tensors().keys() - {"step"})


def test_changed_data(make_bundle: Bundle) -> None:
    index, data = make_bundle(tensors())
    changed = bytes([data[0] ^ 1]) + data[1:]
    with pytest.raises(RestemError, match="checksum of"):
        read_tensors(index, changed, tensors().keys() - {"step"})


@pytest.mark.parametrize("length", [0, 1, 47, 48, 100])
def test_truncated_index(make_bundle: Bundle, length: int) -> None:
    index, _ = make_bundle(tensors())
    with pytest.raises(RestemError, match="cannot be read"):
        read_index(index[:length])


def test_compressed_blocks_are_refused(make_bundle: Bundle) -> None:
    index, _ = make_bundle(tensors(), compression=1)
    with pytest.raises(RestemError, match="compressed"):
        read_index(index)


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_harmless(make_bundle: Bundle, position: int, bit: int) -> None:
    """Only the padding of the footer and the empty block of metadata may change unnoticed."""
    index, _ = make_bundle(tensors())
    position %= len(index)
    changed = index[:position] + bytes([index[position] ^ 1 << bit]) + index[position + 1 :]
    try:
        assert read_index(changed) == read_index(index)
    except RestemError as error:
        assert "cannot be read" in str(error)


@given(content=st.binary(max_size=200))
def test_nonsense_is_refused(content: bytes) -> None:
    with pytest.raises(RestemError):
        read_index(content + bytes(40) + bytes.fromhex("57fb808b247547db"))
