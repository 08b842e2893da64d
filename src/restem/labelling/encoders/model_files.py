"""Encoders that somebody else brings as a file: TensorFlow Lite and ONNX, run by their interpreters.

Nothing in such a file is executed but by the interpreter, which knows a fixed set of operations; no operations of the
file's own are registered. The interpreters are the extra `encoders`.
"""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from restem.errors import RestemError, UsageError
from restem.labelling.encoders.interface import Encoder, EncoderCard
from restem.wording import extra_command


def open_model_file(card: EncoderCard, path: Path, device: str = "cpu") -> Encoder:
    """The encoder of a `.tflite` or `.onnx` file.

    device: with `cuda`, ONNX runs on the GPU where its package can; TensorFlow Lite runs on the CPU. Raises UsageError
    when the interpreter is not installed or the card does not fit the file, RestemError when the file cannot be read.
    """
    kind = {"tflite": TfliteEncoder, "onnx": OnnxEncoder}[card.kind]
    try:
        return kind(card, path, device)
    except RestemError:
        raise
    except Exception as error:  # the interpreters raise errors of many kinds
        raise RestemError(f"{path}: cannot be read as a .{card.kind} model ({_first_line(error)}).") from error


class ModelFileEncoder(Encoder):
    """What both kinds share: windows go in one by one, or as a batch, and tensors come out."""

    def __init__(self, card: EncoderCard) -> None:
        if card.embedding is None:
            raise UsageError(f"The card of {card.name} lacks the key embedding: the tensor's name or index.")
        self.card = card

    @abstractmethod
    def _tensor(self, windows: np.ndarray, tags: bool) -> np.ndarray:
        """The tensor of the embedding or the tags, (batch, ..., number). windows: (batch, sample)."""

    @property
    def has_tags(self) -> bool:
        return self.card.tags is not None

    def _run(self, windows: np.ndarray, tags: bool) -> np.ndarray:
        try:
            values = self._tensor(windows, tags)
        except RestemError:
            raise
        except Exception as error:
            raise RestemError(f"The encoder {self.card.name} failed: {_first_line(error)}.") from error
        if not tags and values.shape[-1] != self.card.embedding_size:
            raise UsageError(
                f"The embedding of {self.card.name} has {values.shape[-1]} numbers; its card says "
                f"{self.card.embedding_size}."
            )
        # Whatever lies between, as the times of a transformer, is averaged.
        return values.reshape(len(windows), -1, values.shape[-1]).mean(axis=1, dtype=np.float32)


class TfliteEncoder(ModelFileEncoder):
    """A TensorFlow Lite model with one input of float32; windows go in one by one, on one thread."""

    def __init__(self, card: EncoderCard, path: Path, _: str) -> None:
        super().__init__(card)
        litert = _package("ai_edge_litert.interpreter", "ai-edge-litert")
        with warnings.catch_warnings():
            # Keeping inner tensors is meant for debugging, they say: it costs memory. There is no other way to them.
            warnings.simplefilter("ignore")
            self._interpreter = litert.Interpreter(
                model_path=str(path), num_threads=1, experimental_preserve_all_tensors=True
            )
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1 or inputs[0]["dtype"] is not np.float32:
            raise UsageError(f"{path}: must have one input, of float32.")
        shape = [int(size) for size in inputs[0].get("shape_signature", inputs[0]["shape"])]
        shape = _filled(shape, card.window_samples)
        if _product(shape) != card.window_samples:
            raise UsageError(f"{path}: takes {_product(shape)} samples; its card says {card.window_samples}.")
        self._input, self._shape = inputs[0]["index"], shape
        self._interpreter.resize_tensor_input(self._input, shape)
        with _quiet():
            self._interpreter.allocate_tensors()
        details = self._interpreter.get_tensor_details()
        self._indices = {
            tags: _index_of(wanted, {one["name"]: one["index"] for one in details}, path)
            for tags, wanted in ((False, card.embedding), (True, card.tags))
            if wanted is not None
        }

    def _tensor(self, windows: np.ndarray, tags: bool) -> np.ndarray:
        rows = []
        for window in windows:
            self._interpreter.set_tensor(self._input, window.reshape(self._shape))
            self._interpreter.invoke()
            rows.append(np.array(self._interpreter.get_tensor(self._indices[tags]), np.float32))
        values = np.stack(rows)
        return values[:, None] if values.ndim == 1 else values


class OnnxEncoder(ModelFileEncoder):
    """An ONNX model with one input of float32: (batch, sample), (batch, 1, sample), or one window at a time."""

    def __init__(self, card: EncoderCard, path: Path, device: str) -> None:
        super().__init__(card)
        onnx = _package("onnxruntime", "onnxruntime")
        options = onnx.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        wanted = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        providers = [one for one in onnx.get_available_providers() if one in (wanted, "CPUExecutionProvider")]
        content = path.read_bytes()
        session = onnx.InferenceSession(content, options, providers=providers)
        outputs = [one.name for one in session.get_outputs()]
        names = {tags: _name_of(one, outputs) for tags, one in ((False, card.embedding), (True, card.tags))}
        inner = [name for name in names.values() if name is not None and name not in outputs]
        if inner:
            content += b"".join(_as_output(name) for name in inner)
            try:
                session = onnx.InferenceSession(content, options, providers=providers)
            except Exception as error:  # of the interpreter, as it is; the same file without this was read
                raise UsageError(f"{path}: has no tensor {' or '.join(map(repr, inner))}; correct its card.") from error
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise UsageError(f"{path}: must have one input, of float32.")
        self._session, self._names, self._input = session, names, inputs[0].name
        sizes = [size if isinstance(size, int) and size > 0 else -1 for size in inputs[0].shape]
        self._batched = len(sizes) > 1 and sizes[0] == -1
        self._shape = _filled(sizes, card.window_samples)
        if _product(self._shape) != card.window_samples:
            raise UsageError(f"{path}: takes {_product(self._shape)} samples; its card says {card.window_samples}.")

    def _tensor(self, windows: np.ndarray, tags: bool) -> np.ndarray:
        if self._batched:
            return self._compute(windows.reshape(len(windows), *self._shape[1:]), tags)
        return np.stack([self._compute(window.reshape(self._shape), tags) for window in windows])

    def _compute(self, values: np.ndarray, tags: bool) -> np.ndarray:
        return np.asarray(self._session.run([self._names[tags]], {self._input: values})[0], np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps a library from writing to standard error behind Python's back: LiteRT announces how it will compute."""
    with Path(os.devnull).open("w") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _package(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"This encoder needs {package}: {extra_command('encoders')}.") from error


def _filled(shape: list[int], samples: int) -> list[int]:
    """A shape with its open sizes (-1) filled: the last one takes the samples, the others are 1."""
    filled = [1 if size < 0 else size for size in shape]
    if shape and shape[-1] < 0:
        filled[-1] = samples
    return filled


def _product(shape: list[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _index_of(wanted: str | int, names: dict[str, int], path: Path) -> int:
    if isinstance(wanted, int) and wanted in names.values():
        return wanted
    if isinstance(wanted, str) and wanted in names:
        return names[wanted]
    raise UsageError(f"{path}: has no tensor {wanted!r}; correct its card.")


def _name_of(wanted: str | int | None, outputs: list[str]) -> str | None:
    if isinstance(wanted, int):
        if not 0 <= wanted < len(outputs):
            raise UsageError(f"The model has outputs 0 to {len(outputs) - 1}, not {wanted}; correct its card.")
        return outputs[wanted]
    return wanted


def _as_output(name: str) -> bytes:
    """What, put behind an ONNX file, makes an inner tensor an output of its graph.

    Two protocol buffers one after the other are one in which repeated fields are joined: here the outputs (field 12) of
    the graph (field 7), of which a name (field 1) is enough.
    """
    output = _field(1, name.encode())
    return _field(7, _field(12, output))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
