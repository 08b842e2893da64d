"""Installing an encoder: musicnn from its wheel, or a model file that the user brings, with a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from restem.addresses import as_path
from restem.content import file_sha256
from restem.errors import RestemError, UsageError
from restem.files import folder_written_aside
from restem.labelling.encoders.interface import EncoderCard, Kind, card_from
from restem.labelling.encoders.registry import (
    CARD_FILE,
    KNOWN,
    WEIGHTS_FILES,
    encoders_folder,
    installed,
    open_encoder,
)
from restem.labelling.encoders.wheel import CHECKPOINTS, musicnn_wheel, read_wheel
from restem.plain_yaml import parse_yaml

LICENCE_FILE = "LICENCE.txt"
_CARD_SUFFIXES = (".yaml", ".yml", ".json")
_KINDS: Mapping[str, Kind] = {".tflite": "tflite", ".onnx": "onnx"}


def add_encoder(
    what: str, *, card: Path | None = None, wheel: Path | None = None, folder: Path | None = None
) -> EncoderCard:
    """Installs an encoder, and returns its card. One that is installed already is left as it is.

    Parameters
    ----------
    what
        The name of an encoder that restem downloads, or the path of a `.tflite` or `.onnx` file.
    card
        The card of a file, YAML or JSON; by default the file beside it of the same name. A file that restem knows needs
        none.
    wheel
        For musicnn, where there is no network: its wheel.
    folder
        Where to install; by default `encoders_folder()`.

    Raises
    ------
    UsageError
        When `what` is neither, or a card does not fit its file.
    RestemError
        When a file cannot be downloaded, read or written, or another encoder of this name is installed.
    """
    root = folder or encoders_folder()
    if what in CHECKPOINTS:
        return _add_musicnn(what, wheel, root)
    path = as_path(what)
    if path.suffix.lower() in _KINDS:
        return _add_file(path, card, root)
    names = ", ".join(CHECKPOINTS)
    if what in KNOWN:
        raise UsageError(f"{what} is a file that you bring: `restem encoders add PATH`, its .{KNOWN[what].kind} file.")
    raise UsageError(f"{what!r} is neither an encoder that can be downloaded ({names}) nor a .tflite or .onnx file.")


def _add_musicnn(name: str, wheel: Path | None, root: Path) -> EncoderCard:
    if (there := installed(root).get(name)) is not None:
        return there
    from safetensors.torch import save

    from restem.labelling.encoders.musicnn_weights import read_weights

    known = KNOWN[name]
    with musicnn_wheel(wheel) as file:
        found = read_wheel(file, name)
    weights = read_weights(known.kind, found.index, found.data)

    def write(aside: Path) -> None:
        aside.write_bytes(save(weights))

    return _install(replace(known, tag_names=found.tag_names), write, root, licence=found.licence)


def _add_file(path: Path, card_file: Path | None, root: Path) -> EncoderCard:
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise RestemError(f"{path}: {(error.strerror or 'cannot be read').lower()}.") from error
    card = _card_of(path, card_file, sha256)
    if card.sha256 not in ("", sha256):
        raise UsageError(f"{path}: is another file than the one its card describes (the sha256 differs).")
    card = replace(card, kind=_KINDS[path.suffix.lower()], sha256=sha256)
    there = installed(root).get(card.name)
    if there is not None and there == card:
        return there

    def write(aside: Path) -> None:
        shutil.copyfile(path, aside)

    return _install(card, write, root)


def _card_of(path: Path, card_file: Path | None, sha256: str) -> EncoderCard:
    beside = [path.with_suffix(suffix) for suffix in _CARD_SUFFIXES]
    file = card_file or next((one for one in beside if one.is_file()), None)
    if file is None:
        for card in KNOWN.values():
            if card.sha256 == sha256:
                return card
        raise UsageError(f"{path}: needs a card, {beside[0].name} beside it or `card`; see docs/encoders.md.")
    try:
        values = parse_yaml(file.read_text(encoding="utf-8"))  # JSON is YAML, too
    except OSError as error:
        raise RestemError(f"{file}: {(error.strerror or 'cannot be read').lower()}.") from error
    except ValueError as error:
        raise RestemError(f"{file}: is not YAML or JSON ({error}).") from error
    if isinstance(values, dict):
        values.setdefault("kind", _KINDS[path.suffix.lower()])
    return card_from(values, str(file))


def _install(card: EncoderCard, write: Callable[[Path], None], root: Path, licence: str = "") -> EncoderCard:
    """Writes an encoder's folder, tries it, and only then puts it in its place."""
    place = root / card.name
    if place.exists():
        raise RestemError(f"{place}: there is another encoder of this name; delete the folder, or choose another name.")
    try:
        with folder_written_aside(place) as aside:
            weights = aside / WEIGHTS_FILES[card.kind]
            write(weights)
            card = replace(card, sha256=file_sha256(weights))
            _try(card, weights)
            if licence:
                (aside / LICENCE_FILE).write_text(licence + "\n", encoding="utf-8")
            (aside / CARD_FILE).write_text(json.dumps(card.to_json(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise RestemError(f"{root}: cannot be written ({error.strerror}).") from error
    return card


def _try(card: EncoderCard, weights: Path) -> None:
    """Lets the encoder hear noise: two different windows must give two different embeddings of the size on the card."""
    rng = np.random.default_rng(0)
    windows = (0.1 * rng.standard_normal((2, card.window_samples))).astype(np.float32)
    encoder = open_encoder(card, weights)
    embeddings = encoder.embed(windows)
    if np.array_equal(embeddings[0], embeddings[1]):
        raise UsageError(f"The embedding of {card.name} does not depend on the sound; correct its card.")
    if encoder.has_tags:
        encoder.tag(windows)
