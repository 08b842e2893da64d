"""Reads the tensors of a TensorFlow checkpoint (format V2) without TensorFlow, and without running anything.

A checkpoint is two files. `.index` is a sorted table: blocks of keys that share prefixes, each block followed by a byte
for its compression and a CRC-32C, and a footer of 48 bytes that says where the block of blocks lies. Its keys are the
names of tensors, its values protocol buffers with type, shape, offset, size and CRC-32C. `.data-00000-of-00001` holds
the numbers at these offsets. Both formats are public: LevelDB's table format, and TensorFlow's `tensor_bundle.proto`.

The reader is strict: whatever lies outside its file, is of another type or has another checksum raises RestemError.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from restem.errors import RestemError

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_TRAILER_BYTES = 5  # compression and checksum after each block
_FLOAT32 = 1  # TensorFlow's DT_FLOAT
_MASK = 0xA282EAD8  # what LevelDB adds to a checksum, after turning it
_LARGEST_TENSOR = 1 << 28  # numbers; a checkpoint that claims more is damaged


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor lies in the data file. shape: its sizes. offset, size: bytes. checksum: masked CRC-32C."""

    shape: tuple[int, ...]
    offset: int
    size: int
    checksum: int


def read_tensors(index: bytes, data: bytes, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The float32 tensors of these names. index, data: the two files of a checkpoint, of one shard.

    Raises RestemError when one is missing, is not float32, or anything about the files is wrong.
    """
    entries = read_index(index)
    tensors = {}
    for name in names:
        if name not in entries:
            raise RestemError(f"The checkpoint holds no tensor {name}.")
        entry = entries[name]
        part = data[entry.offset : entry.offset + entry.size]
        if len(part) != entry.size:
            raise RestemError(f"The checkpoint is truncated: {name} ends beyond its data.")
        if masked_crc32c(part) != entry.checksum:
            raise RestemError(f"The checkpoint is damaged: the checksum of {name} is wrong.")
        tensors[name] = np.frombuffer(part, "<f4").reshape(entry.shape).astype(np.float32)
    return tensors


def read_index(index: bytes) -> dict[str, TensorEntry]:
    """The float32 tensors that an index names, without those of other types. Raises RestemError if it is damaged."""
    try:
        pairs = dict(_pairs(index))
        header = _fields(pairs.pop(b""))
        if header.get(1, 0) != 1 or header.get(2, 0) != 0:
            raise ValueError("its data must be one little-endian shard")
        entries = {}
        for key, value in pairs.items():
            fields = _fields(value)
            if fields.get(1) == _FLOAT32:
                entries[key.decode("utf-8")] = _entry(fields)
        return entries
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise RestemError(f"The checkpoint's index cannot be read: {error}.") from error


def _entry(fields: Mapping[int, int | bytes]) -> TensorEntry:
    if 7 in fields or fields.get(3, 0) != 0:
        raise ValueError("a tensor is split into slices or shards")
    shape = tuple(_number(_fields(one), 1) for one in _repeated(_bytes(fields, 2), 2))
    size = _number(fields, 5)
    if math.prod(shape) > _LARGEST_TENSOR or math.prod(shape) * 4 != size:
        raise ValueError(f"a tensor of shape {shape} has {size} bytes")
    return TensorEntry(shape, _number(fields, 4), size, _number(fields, 6))


def _pairs(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of the table."""
    footer = index[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not footer.endswith(_MAGIC):
        raise ValueError("it has no footer")
    _, position = _handle(footer, 0)  # of the block of metadata, which checkpoints leave empty
    top, _ = _handle(footer, position)
    for _, value in _block_pairs(_block(index, *top)):
        handle, _ = _handle(value, 0)
        yield from _block_pairs(_block(index, *handle))


def _handle(buffer: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and where what follows begins."""
    offset, position = _varint(buffer, position)
    size, position = _varint(buffer, position)
    return (offset, size), position


def _block(index: bytes, offset: int, size: int) -> bytes:
    whole = index[offset : offset + size + _TRAILER_BYTES]
    if len(whole) != size + _TRAILER_BYTES:
        raise ValueError("a block ends beyond the file")
    if masked_crc32c(whole[: size + 1]) != int.from_bytes(whole[size + 1 :], "little"):
        raise ValueError("the checksum of a block is wrong")
    if whole[size] != 0:
        raise ValueError("it is compressed, which is not supported")
    return whole[:size]


def _block_pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each key says how many bytes it shares with the one before; restart points, for searching, are at the end."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block is too short")
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        if shared > len(key) or position + own + length > end:
            raise ValueError("a key or value ends beyond its block")
        key = key[:shared] + block[position : position + own]
        position += own
        yield key, block[position : position + length]
        position += length


def _varint(buffer: bytes, position: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven in each byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number has more than 64 bits")


def _messages(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer, by number: whole numbers, or bytes that may be messages themselves."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            number, position = _varint(message, position)
            yield tag >> 3, number
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of unknown kind {kind}")
        part = message[position : position + length]
        if len(part) != length:
            raise ValueError("a field ends beyond its message")
        position += length
        yield tag >> 3, part if kind == 2 else int.from_bytes(part, "little")


def _fields(message: bytes) -> dict[int, int | bytes]:
    return dict(_messages(message))


def _repeated(message: bytes, field: int) -> list[bytes]:
    return [value for number, value in _messages(message) if number == field and isinstance(value, bytes)]


def _number(fields: Mapping[int, int | bytes], field: int) -> int:
    value = fields.get(field, 0)
    if not isinstance(value, int):
        raise ValueError(f"field {field} is not a number")
    return value


def _bytes(fields: Mapping[int, int | bytes], field: int) -> bytes:
    value = fields.get(field, b"")
    if not isinstance(value, bytes):
        raise ValueError(f"field {field} is not a message")
    return value


def masked_crc32c(content: bytes) -> int:
    """CRC-32C (Castagnoli) as LevelDB stores it: turned by 15 bits, plus a constant."""
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def crc32c(content: bytes) -> int:
    """CRC-32C of `content`; `crc32c(b"123456789") == 0xE3069283`."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()
