"""The classifier as a whole: its network, what it was trained for, and the folder it is kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch

from restem._version import __version__
from restem.audio.mel import MelSettings
from restem.errors import RestemError, UsageError
from restem.files import write_json, written_aside
from restem.labelling.network import ClassifierNetwork, ClassifierSettings
from restem.labelling.prediction import Prediction, predict

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


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
    folder = Path(folder)
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
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
        classifier = config.build()
        classifier.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS_FILE))
    except FileNotFoundError as error:
        # safetensors does not say which file it misses.
        missing = next((name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).exists()), "a file")
        raise RestemError(f"{folder}: holds no classifier ({missing} is missing).") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise RestemError(f"{folder}: the classifier is damaged or of another version; make it again.") from error
    return classifier.eval()


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """`content`, if all its keys are fields of `kind`; an unknown key is an error."""
    if unknown := set(content).difference(field.name for field in fields(kind)):
        raise UsageError(f"{kind.__name__} has no setting {sorted(unknown)[0]!r}.")
    return dict(content)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
