"""Checkpoints, wheels and models as small as they can be, so that everything is tested without network or weights."""

from __future__ import annotations

import importlib.util
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from restem.labelling.encoders import registry, wheel
from restem.labelling.encoders.checkpoint import masked_crc32c
from restem.labelling.encoders.musicnn_weights import NETWORKS, _places

ROOT = Path(__file__).parents[3]
YAMNET = ROOT.parent / "shared" / "data" / "encoders" / "yamnet.tflite"
CHECKPOINTS = wheel.CHECKPOINTS


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: int | bytes) -> bytes:
    """A field of a protocol buffer: a whole number, or bytes."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def block(pairs: list[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """A block of a table, with shared prefixes, one restart point, and its trailer."""
    content, before = b"", b""
    for key, value in pairs:
        shared = 0
        while shared < min(len(before), len(key)) and before[shared] == key[shared]:
            shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    content += struct.pack("<II", 0, 1) + bytes([compression])
    return content + struct.pack("<I", masked_crc32c(content))


def table(pairs: list[tuple[bytes, bytes]], compression: int, per_block: int = 7) -> bytes:
    content, handles = b"", []
    for first in range(0, len(pairs), per_block):
        part = block(pairs[first : first + per_block], compression)
        handles.append((pairs[min(len(pairs), first + per_block) - 1][0], varint(len(content)) + varint(len(part) - 5)))
        content += part
    meta, top = block([]), block(handles)
    footer = varint(len(content)) + varint(len(meta) - 5) + varint(len(content) + len(meta)) + varint(len(top) - 5)
    return content + meta + top + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def bundle(tensors: Mapping[str, np.ndarray], compression: int = 0) -> tuple[bytes, bytes]:
    """The index and the data of a checkpoint. compression: what the blocks claim to be."""
    data, pairs = b"", [(b"", field(1, 1) + field(3, field(1, 1)))]
    kinds = {"float32": 1, "int64": 9}
    for name, value in sorted(tensors.items()):
        content = np.ascontiguousarray(value).tobytes()
        shape = b"".join(field(2, field(1, size)) for size in value.shape)
        entry = field(1, kinds[value.dtype.name]) + field(2, shape) + field(4, len(data)) + field(5, len(content))
        pairs.append((name.encode(), entry + varint(6 << 3 | 5) + struct.pack("<I", masked_crc32c(content))))
        data += content
    return table(pairs, compression), data


def random_checkpoint(name: str) -> dict[str, np.ndarray]:
    """Small random weights for the encoder `name`, in TensorFlow's layout, with what a training leaves beside them."""
    rng = np.random.default_rng(0)
    kind = registry.KNOWN[name].kind
    shapes = {key: value.shape for key, value in NETWORKS[kind]().state_dict().items()}
    tensors = {"beta1_power": np.array(0.9, np.float32), "step": np.array(3, np.int64)}
    for place, key in _places(kind):
        shape = shapes[place]
        if place.startswith("middle.") and len(shape) == 3:
            shape = (shape[2], shape[1], 1, shape[0])
        elif len(shape) == 4:
            shape = (shape[2], shape[3], shape[1], shape[0])
        elif len(shape) == 2:
            shape = shape[::-1]
        width = max(1, int(np.prod(shape[:-1])))
        value = rng.standard_normal(shape) / np.sqrt(width)
        if key.endswith("moving_variance"):
            value = 1 + value**2
        tensors[key] = value.astype(np.float32)
    return tensors


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., tuple[bytes, bytes]]:
    return bundle


@pytest.fixture(scope="session")
def random_weights() -> Callable[[str], dict[str, np.ndarray]]:
    return random_checkpoint


@pytest.fixture(scope="session")
def small_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with everything that is read from musicnn's, but random weights."""
    path = tmp_path_factory.mktemp("wheel") / wheel.WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for name, checkpoint in CHECKPOINTS.items():
            index, data = bundle(random_checkpoint(name))
            archive.writestr(f"musicnn/{checkpoint}/.index", index)
            archive.writestr(f"musicnn/{checkpoint}/.data-00000-of-00001", data)
        words = [f"tag {number}" for number in range(50)]
        archive.writestr("musicnn/configuration.py", f"raise SystemExit\nMTT_LABELS = {words}\nMSD_LABELS = {words}\n")
        archive.writestr("musicnn-0.1.0.dist-info/LICENSE.md", "\nThe licence.\n")
    return path


@pytest.fixture
def known_wheel(small_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, taken for the published one."""
    monkeypatch.setattr(wheel, "_SHA256", registry.file_sha256(small_wheel))
    return small_wheel


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """`tests/labelling/encoders/musicnn_reference.py`, which wrote the reference outputs."""
    spec = importlib.util.spec_from_file_location("musicnn_reference", Path(__file__).with_name("musicnn_reference.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _value_info(name: str, shape: list[int | str]) -> bytes:
    sizes = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size.encode())) for size in shape)
    return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, sizes)))


@pytest.fixture
def write_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model that multiplies windows by a matrix: `write_onnx(matrix, ["batch", 4])`.

    Its tensors: `sound`, `inner` = sound @ matrix, `scores` = sigmoid(inner), the output.
    """

    def write(matrix: np.ndarray, shape: list[int | str], name: str = "model.onnx") -> Path:
        values = np.ascontiguousarray(matrix, np.float32)
        weights = b"".join(field(1, size) for size in values.shape) + field(2, 1) + field(8, b"matrix")
        weights += field(9, values.tobytes())
        first = field(1, b"sound") + field(1, b"matrix") + field(2, b"inner") + field(4, b"MatMul")
        second = field(1, b"inner") + field(2, b"scores") + field(4, b"Sigmoid")
        graph = field(1, first) + field(1, second) + field(2, b"graph") + field(5, weights)
        graph += field(11, _value_info("sound", shape)) + field(
            12, _value_info("scores", [*shape[:-1], values.shape[1]])
        )
        path = tmp_path / name
        path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
        return path

    return write
