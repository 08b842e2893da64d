"""The pretrained classifier that comes with restem: where trainings start, and the first evidence about every stem.

It was trained on generated songs only (`python -m restem.pretraining`), for the default classes and for the families
of instruments that `other` is made of. Where it knows all classes of a dataset it also scores every stem: it was
trained on none of the songs, so its scores are out of sample.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from restem.errors import UsageError
from restem.labelling.classifier import Classifier, ClassifierConfig, load_classifier
from restem.labelling.heads import Heads
from restem.taxonomy import DEFAULT_CLASSES

FOLDER = Path(__file__).parent / "pretrained_weights"

# C of heads on its embeddings, which are a quarter as many numbers as those of the usual encoders.
_PENALTY = 0.01


def has_pretrained(config: ClassifierConfig) -> bool:
    """Whether there are pretrained weights for classifiers of this size and these mel bands, whatever their classes."""
    known = _pretrained().config
    return (config.network, config.mel, config.segment_s) == (known.network, known.mel, known.segment_s)


def knows(classes: tuple[str, ...]) -> bool:
    """Whether the pretrained classifier was trained for all of these classes, so that its scores mean something.

    What `other` means depends on what else there is: it is known among the default classes only.
    """
    known = _pretrained().config
    return set(classes) <= set(known.classes) and ("other" not in classes or set(classes) == set(DEFAULT_CLASSES))


def start_from_pretrained(classifier: Classifier, config: ClassifierConfig) -> None:
    """Gives `classifier` the pretrained weights; the output weights of classes that it was not trained for stay random.

    Raises UsageError when there are none of this shape.
    """
    if not has_pretrained(config):
        raise UsageError("There is no pretrained classifier of this shape; use `start='scratch'`.")
    pretrained = _pretrained()
    known, weights = pretrained.config, pretrained.state_dict()
    for name in ("head.weight", "head.bias"):
        own = classifier.state_dict()[name].clone()
        for row, one in enumerate(config.classes):
            if one in known.classes:
                own[row] = weights[name][known.classes.index(one)]
        weights[name] = own
    with torch.no_grad():
        classifier.load_state_dict(weights)


def pretrained_heads(classes: tuple[str, ...]) -> Heads:
    """The output layer of the pretrained classifier, as heads on what it sees (`scoring.embed_segments`)."""
    known, head = _pretrained().config, _pretrained().head
    weights, bias = head.weight.detach().numpy().T, head.bias.detach().numpy()
    size = len(weights)
    heads = Heads(known.classes, np.zeros(size), np.ones(size), weights, bias, penalty=_PENALTY)
    return heads.of(classes)


@lru_cache(maxsize=1)
def _pretrained() -> Classifier:
    return load_classifier(FOLDER)
