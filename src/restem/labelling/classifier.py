"""The classifier as a whole: its network, what it was trained for, and the folder it is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch

from restem._version import __version__
from restem.addresses import Address, as_path
from restem.audio.mel import MelSettings
from restem.audio.reader import HIGHEST_RATE_HZ
from restem.errors import RestemError, TaxonomyError, UsageError
from restem.fetching import fetched_folder
from restem.files import read_json, write_json, written_aside
from restem.labelling.network import ClassifierNetwork, ClassifierSettings
from restem.labelling.prediction import Prediction, predict
from restem.taxonomy import Taxonomy
from restem.weights import check_size, load_weights

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

# Far beyond the sizes of any classifier; what is beyond them is damage.
_DEEPEST, _WIDEST, _SHORTEST_S, _LONGEST_S = 64, 4096, 0.001, 600.0

_DAMAGES = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, safetensors.SafetensorError, UsageError,
    TaxonomyError,
)  # fmt: skip


@dataclass(frozen=True)
class ClassifierConfig:
    """Everything but the weights that is needed to use a classifier; `config.json` beside `model.safetensors`.

    segment_s: the length of the segments it was trained on. dataset: the fingerprint of the data it learned from.
    licence: that of the data, as far as it was given.
    """

    classes: tuple[str, ...]
    mel: MelSettings
    network: ClassifierSettings
    segment_s: float
    dataset: str = ""
    licence: str = ""
    restem: str = __version__

    def build(self) -> Classifier:
        """A classifier of this shape, with fresh weights from torch's generator."""
        return Classifier(self)


class Classifier(ClassifierNetwork):
    """Says which classes are in a piece of music.

    As a torch module it takes mel power of segments (batch, frame, band), of any positive scale, and returns logits
    (batch, class); `predict` takes sound.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(len(config.classes), config.mel.bands, config.network)
        self.config = config

    def __repr__(self) -> str:
        weights = sum(one.numel() for one in self.parameters())
        return f"Classifier({', '.join(self.config.classes)}; {weights / 1e6:.1f} M weights)"

    def predict(self, sound: Path | str | np.ndarray, rate_hz: int | None = None) -> Prediction:
        """The probability of each class, over time and in the whole.

        Parameters
        ----------
        sound
            An audio file, or samples: (channel, sample) or (sample,), full scale 1.
        rate_hz
            Of the samples; not needed for a file.

        Returns
        -------
        Prediction
            A row per segment, and the whole.

        Raises
        ------
        AudioError
            When the file cannot be decoded.
        UsageError
            When samples come without their rate, or are not sound.
        """
        config = self.config
        return predict(self, config.classes, config.mel, config.segment_s, sound, rate_hz)


def save_classifier(folder: Path, classifier: Classifier) -> None:
    """Writes `config.json` and then `model.safetensors` to `folder`, each atomically."""
    write_json(folder / CONFIG_FILE, asdict(classifier.config))
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    with written_aside(folder / WEIGHTS_FILE) as aside:
        # save_file would make a file that nobody else may read.
        aside.write_bytes(safetensors.torch.save(weights))


def load_classifier(folder: Path | str) -> Classifier:
    """Loads a classifier.

    Parameters
    ----------
    folder
        The folder `classifier` of a run: `config.json` and `model.safetensors`.

    Returns
    -------
    Classifier
        Ready to use, on the CPU; see `Classifier.predict`.

    Raises
    ------
    RestemError
        When a file is missing or damaged, or the two do not belong together.

    Examples
    --------
    >>> classifier = restem.load_classifier("run/classifier")
    >>> classifier.config.classes
    ('vocals', 'drums', 'bass', 'other')
    """
    folder = as_path(folder)
    if isinstance(folder, Address):
        folder = fetched_folder(folder, WEIGHTS_FILE, f"holds no classifier ({WEIGHTS_FILE} is missing)")
    try:
        content = read_json(folder / CONFIG_FILE)
        config = ClassifierConfig(
            **{
                **_known(ClassifierConfig, content),
                "classes": tuple(content["classes"]),
                "mel": MelSettings(**_known(MelSettings, content["mel"])),
                "network": ClassifierSettings(
                    **{name: _as_tuple(value) for name, value in _known(ClassifierSettings, content["network"]).items()}
                ),
            }
        )
        _check(config)
        check_size(config.build)
        classifier = config.build()
        load_weights(classifier, folder / WEIGHTS_FILE)
    except FileNotFoundError as error:
        # safetensors does not say which file it misses.
        missing = next((name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).exists()), "a file")
        raise RestemError(f"{folder}: holds no classifier ({missing} is missing).") from error
    except _DAMAGES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise RestemError(
            f"{folder}: the classifier is damaged or of another version ({reason}); make it again."
        ) from error
    return classifier.eval()


def _check(config: ClassifierConfig) -> None:
    """Raises ValueError, TypeError or TaxonomyError for sizes and names that no classifier has."""
    Taxonomy(config.classes)
    network, mel = config.network, config.mel
    for name, sizes, most in (
        ("depths", network.depths, _DEEPEST),
        ("widths", network.widths, _WIDEST),
        ("patch", network.patch, _WIDEST),
        ("bands", (mel.bands,), _WIDEST),
    ):
        if not sizes or not all(isinstance(size, int) and 1 <= size <= most for size in sizes):
            raise ValueError(f"{name} is {sizes}")
    if len(network.depths) != len(network.widths) or len(network.depths) > _DEEPEST or len(network.patch) != 2:
        raise ValueError("depths, widths and patch do not fit together")
    for name, value in (("frame_s", mel.frame_s), ("hop_s", mel.hop_s), ("segment_s", config.segment_s)):
        if not _SHORTEST_S <= value <= _LONGEST_S:
            raise ValueError(f"{name} is {value}")
    if not 0 <= mel.low_hz < mel.high_hz <= HIGHEST_RATE_HZ or not 0 <= network.drop_path < 1:
        raise ValueError("low_hz, high_hz or drop_path is out of range")


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """`content`, if all its keys are fields of `kind`; an unknown key is an error."""
    if unknown := set(content).difference(field.name for field in fields(kind)):
        raise UsageError(f"{kind.__name__} has no setting {sorted(unknown)[0]!r}.")
    return dict(content)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
