"""The prior: a classifier that comes with restem, as the weights to start from.

It was trained on a large generated band (`python -m restem.pretraining`), for the default classes and for the
families of instruments that `other` is made of. Classifiers that start from it need not learn what sound is; and
where it knows the classes, it listens in the first round, for it never heard any of the songs.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from restem.errors import UsageError
from restem.labelling.classifier import Classifier, ClassifierConfig, load_classifier
from restem.taxonomy import DEFAULT_CLASSES

FOLDER = Path(__file__).parent / "prior_weights"


def has_prior(config: ClassifierConfig) -> bool:
    """Whether there is a prior for classifiers of this shape: whatever their classes, but of its size and its bands."""
    _, known = _prior()
    return (config.network, config.mel, config.segment_s) == (known.network, known.mel, known.segment_s)


def knows(classes: tuple[str, ...]) -> bool:
    """Whether the prior was trained for all of these classes, and so can judge.

    What `other` means depends on what else there is: it is known among the default classes only.
    """
    _, known = _prior()
    return set(classes) <= set(known.classes) and ("other" not in classes or set(classes) == set(DEFAULT_CLASSES))


def start_from_prior(classifier: Classifier, config: ClassifierConfig) -> None:
    """Gives `classifier` the weights of the prior, but for the logits of classes that the prior does not know by name.

    Raises UsageError when there is none of this shape.
    """
    if not has_prior(config):
        raise UsageError("There is no prior for classifiers of this shape; start from scratch.")
    prior, known = _prior()
    weights = prior.state_dict()
    for name in ("head.weight", "head.bias"):
        own = classifier.state_dict()[name].clone()
        for row, one in enumerate(config.classes):
            if one in known.classes:
                own[row] = weights[name][known.classes.index(one)]
        weights[name] = own
    with torch.no_grad():
        classifier.load_state_dict(weights)


@lru_cache(maxsize=1)
def _prior() -> tuple[Classifier, ClassifierConfig]:
    return load_classifier(FOLDER)
