from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from restem.audio.mel import MelSettings, mel_power
from restem.errors import UsageError
from restem.labelling import pretrained
from restem.labelling.classifier import load_classifier
from restem.labelling.network import SIZES
from restem.labelling.settings import RefineSettings
from restem.labelling.training import default_start
from restem.pretraining.classifier import MIXING
from restem.pretraining.songs import CLASSES
from restem.synth.band import render_song
from restem.taxonomy import DEFAULT_CLASSES

FOUR = RefineSettings().classifier(DEFAULT_CLASSES)


def test_is_small_and_of_the_classes_it_is_made_for() -> None:
    assert sum(path.stat().st_size for path in pretrained.FOLDER.iterdir()) < 4e6
    config = load_classifier(pretrained.FOLDER).config
    assert config.classes == CLASSES and config.network == SIZES["tiny"]
    assert config.mel == MelSettings() and config.segment_s == MIXING.segment_s


def test_knows_what_plays_in_songs_it_never_heard() -> None:
    """Among the stems of a few songs it ranks those of a class first."""
    classifier = load_classifier(pretrained.FOLDER)
    config = classifier.config
    logits, true = [], []
    for number in range(6):
        for name, sound in render_song(7, number, seconds=6.0).items():
            power = np.concatenate(list(mel_power([sound], 44100, MelSettings())))
            with torch.inference_mode():
                found = classifier(torch.from_numpy(np.stack([power[:150], power[-150:]]))).amax(dim=0)
            logits.append(found[[config.classes.index(one) for one in DEFAULT_CLASSES]].numpy())
            true.append(DEFAULT_CLASSES.index(name))
    for index, column in enumerate(np.array(logits).T):
        mine = np.array(true) == index
        assert np.mean(column[mine][:, None] > column[~mine]) > 0.9


def test_starts_with_its_weights() -> None:
    torch.manual_seed(0)
    known = load_classifier(pretrained.FOLDER)
    config = known.config
    other = replace(FOUR, classes=("bass", "kazoo", "vocals"))
    classifier = other.build()
    fresh = classifier.head.weight.detach().clone()
    pretrained.start_from_pretrained(classifier, other)
    for name, values in known.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(classifier.state_dict()[name], values)
    for row, name in enumerate(other.classes):
        expected = fresh[row] if name == "kazoo" else known.head.weight[config.classes.index(name)]
        assert torch.equal(classifier.head.weight[row], expected)


@pytest.mark.parametrize(
    "change", [{"network": SIZES["small"]}, {"mel": MelSettings(bands=32)}, {"segment_s": 2.0}]
)  # fmt: skip
def test_there_is_one_for_one_shape_only(change: dict) -> None:
    assert pretrained.has_pretrained(FOUR) and not pretrained.has_pretrained(replace(FOUR, **change))
    with pytest.raises(UsageError, match="no pretrained"):
        pretrained.start_from_pretrained(replace(FOUR, **change).build(), replace(FOUR, **change))


@pytest.mark.parametrize(
    ("classes", "known"),
    [
        (DEFAULT_CLASSES, True),
        (("other", "bass", "drums", "vocals"), True),
        (("vocals", "drums", "bass"), True),
        (("guitar", "piano"), True),
        # Other than what?
        (("vocals", "other"), False),
        ((*DEFAULT_CLASSES, "guitar"), False),
        (("vocals", "kazoo"), False),
    ],
)
def test_classes_it_can_judge(classes: tuple[str, ...], known: bool) -> None:
    assert pretrained.knows(classes) == known


def test_where_a_training_starts() -> None:
    small = RefineSettings(size="small").classifier(DEFAULT_CLASSES)
    assert default_start(FOUR) == "pretrained" and default_start(small) == "scratch"
    assert RefineSettings(start="scratch").start_of(FOUR) == "scratch"
    with pytest.raises(UsageError, match="start='scratch'"):
        RefineSettings(size="small", start="pretrained")
