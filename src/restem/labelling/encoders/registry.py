"""Which encoders there are: those that restem knows, one card each, and those that are installed in the user's folder.

An installed encoder is a folder with its name: `card.json`, and `model.safetensors`, `model.tflite` or `model.onnx`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_data_path

from restem.content import file_sha256
from restem.errors import RestemError, UsageError
from restem.files import read_json
from restem.labelling.encoders.interface import Encoder, EncoderCard, Kind, card_from

FOLDER_VARIABLE = "RESTEM_ENCODERS"
"""The environment variable that names another folder for installed encoders."""

CARD_FILE = "card.json"

_MUSICNN_PAPER = "Pons and Serra, musicnn: pre-trained networks for music audio tagging, ISMIR 2019 (late-breaking)"
_MAGNATAGATUNE = "MagnaTagATune: music that is licensed for non-commercial use (CC BY-NC-SA)"
_MILLION_SONGS = "Million Song Dataset: previews of commercial music, not free"


def _musicnn(name: str, kind: Kind, size: int, training_audio: str, good_for: str) -> EncoderCard:
    return EncoderCard(name, kind, 16000, 48000, size, "ISC", training_audio, _MUSICNN_PAPER, good_for)


_CARDS = (
    _musicnn("musicnn", "musicnn", 1506, _MAGNATAGATUNE, "instruments and voices in music"),
    _musicnn("musicnn-msd", "musicnn", 1506, _MILLION_SONGS, "genres and moods more than instruments"),
    _musicnn("musicnn-vgg", "musicnn-vgg", 256, _MAGNATAGATUNE, "as musicnn, smaller embeddings"),
    _musicnn("musicnn-vgg-msd", "musicnn-vgg-msd", 256, _MILLION_SONGS, "as musicnn-msd, smaller embeddings"),
    EncoderCard(
        "yamnet", "tflite", 16000, 15600, 1024, "Apache-2.0", "AudioSet: soundtracks of videos, not free",
        "Plakal and Ellis, YAMNet, 2019; a MobileNet on AudioSet", "sounds of all kinds; fast",
        embedding="yamnet_frames/global_average_pooling2d/Mean", tags="Identity",
        sha256="469be6a3421cbc52cf97e9f2f966cba984198e8e7af9854d68b3e3ebb1e04194",
    ),
)  # fmt: skip

KNOWN: Mapping[str, EncoderCard] = {card.name: card for card in _CARDS}
"""The encoders that restem knows, by name. Those of musicnn are downloaded; of others, the file is recognised."""

WEIGHTS_FILES: Mapping[Kind, str] = {
    "musicnn": "model.safetensors", "musicnn-vgg": "model.safetensors", "musicnn-vgg-msd": "model.safetensors",
    "tflite": "model.tflite", "onnx": "model.onnx",
}  # fmt: skip


def encoders_folder() -> Path:
    """Where encoders are installed: what RESTEM_ENCODERS says, or `restem/encoders` in the user's data folder.

    That is `$XDG_DATA_HOME/restem/encoders` or `~/.local/share/restem/encoders` on Linux. Raises UsageError where there
    is no home folder.
    """
    if os.environ.get(FOLDER_VARIABLE):
        return Path(os.environ[FOLDER_VARIABLE])
    try:
        folder = user_data_path("restem", appauthor=False)
    except RuntimeError:
        folder = Path()
    # Without a home, platformdirs leaves the `~` in the path.
    if not folder.is_absolute():
        raise UsageError(f"There is no home folder for encoders; name a folder in {FOLDER_VARIABLE}.")
    return folder / "encoders"


def installed(folder: Path | None = None) -> dict[str, EncoderCard]:
    """The installed encoders, by name, the known ones first. folder: another than `encoders_folder()`.

    What cannot be read as an encoder is left out.
    """
    root = folder or encoders_folder()
    cards = {}
    for path in sorted(root.glob(f"*/{CARD_FILE}")):
        try:
            card = _read_card(path)
        except RestemError:
            continue
        if card.name == path.parent.name:
            cards[card.name] = card
    order = [name for name in KNOWN if name in cards]
    return {name: cards[name] for name in [*order, *(name for name in cards if name not in KNOWN)]}


def chosen_encoder(name: str) -> EncoderCard | None:
    """The card of the encoder that is asked for; None for `none`, and for `auto` where none can be used.

    `auto` is the first one that is installed, in the order of `installed`, and whose interpreter is there. Raises
    UsageError when the one asked for is not installed.
    """
    if name == "none":
        return None
    there = installed()
    if name == "auto":
        return next((card for card in there.values() if _has_interpreter(card)), None)
    if name not in there:
        raise not_installed(name)
    return there[name]


def not_installed(name: str) -> UsageError:
    remedy = "`restem encoders` lists those there are"
    if name in KNOWN:
        remedy = f"run `restem encoders add {name if KNOWN[name].kind.startswith('musicnn') else f'{name}.tflite'}`"
    return UsageError(f"The encoder {name!r} is not installed; {remedy}.")


def load_encoder(name: str, folder: Path | None = None, device: str = "cpu") -> Encoder:
    """An installed encoder, ready for use. device: where a network of restem's own runs; interpreters choose theirs.

    Raises UsageError when there is none of this name or what it needs is not installed, RestemError when its files are
    damaged.
    """
    place = (folder or encoders_folder()) / name
    if not name or Path(name).name != name or not (place / CARD_FILE).is_file():
        raise not_installed(name)
    card = _read_card(place / CARD_FILE)
    return open_encoder(card, place / WEIGHTS_FILES[card.kind], device)


def open_encoder(card: EncoderCard, weights: Path, device: str = "cpu") -> Encoder:
    """An encoder from its card and the file of its weights; errors as `load_encoder`."""
    try:
        found = file_sha256(weights)
    except OSError as error:
        raise RestemError(f"{weights}: cannot be read; delete the folder and add the encoder again.") from error
    if found != card.sha256:
        raise RestemError(f"{weights}: is not what its card says; delete the folder and add the encoder again.")
    if card.kind in ("tflite", "onnx"):
        from restem.labelling.encoders.model_files import open_model_file

        return open_model_file(card, weights, device)
    import torch
    from safetensors.torch import load_file

    from restem.labelling.encoders.musicnn import MusicnnEncoder
    from restem.labelling.encoders.musicnn_weights import build

    return MusicnnEncoder(card, build(card.kind, load_file(weights)), torch.device(device))


def _has_interpreter(card: EncoderCard) -> bool:
    """Whether what computes the embeddings is there: of model files, a package of the extra `encoders`."""
    package = {"tflite": "ai_edge_litert", "onnx": "onnxruntime"}.get(card.kind)
    return package is None or find_spec(package) is not None


def _read_card(path: Path) -> EncoderCard:
    try:
        return card_from(read_json(path), str(path))
    except (OSError, ValueError) as error:
        raise RestemError(f"{path}: cannot be read as a card; delete the folder and add the encoder again.") from error
