"""What the heads that come with restem hear in real recordings; `make test` installs the encoder where it can."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from restem.dataset.layouts import open_dataset
from restem.evaluation.metrics import auroc
from restem.labelling.encoders.registry import FOLDER_VARIABLE, installed
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.head_evidence import encoder_evidence
from restem.labelling.pretrained_heads import find_heads

DATA = Path(__file__).parents[3] / "shared" / "data"
ENCODERS = Path(os.environ.get(FOLDER_VARIABLE, "/nonexistent"))  # before the tests hide it

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here"),
    pytest.mark.skipif("musicnn" not in installed(ENCODERS), reason="musicnn is not installed"),
]


def test_heads_that_heard_generated_songs_only_know_real_instruments(tmp_path: Path) -> None:
    """Before anything is learnt from the dataset: a class that is there scores above one that is not."""
    dataset = open_dataset(DATA / "takes" / "clean")
    chosen = dataset.stems[::3]
    sources = [(dataset.file(stem), 0) for stem in chosen]
    card = installed(ENCODERS)["musicnn"]
    heads = find_heads(card, ENCODERS)
    assert heads is not None
    store = EmbeddingStore(tmp_path, card, encoders=ENCODERS)
    assert store.fill(sources) == {}
    evidence = encoder_evidence(
        store, sources, heads, dataset.taxonomy.classes, np.zeros(len(sources), int), 0.93, alone=True, seed=0,
        aside=tmp_path / "inputs",
    )  # fmt: skip
    true = np.array([dataset.taxonomy.to_flags(stem.given) for stem in chosen])
    scores = evidence.scores(None, None)
    found = auroc(true.ravel(), scores.ravel())
    print(f"AUROC {found:.3f} over {len(chosen)} stems")
    assert found > 0.9
