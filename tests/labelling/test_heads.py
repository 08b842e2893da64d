"""Heads against scikit-learn, and what becomes of them in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restem.errors import RestemError
from restem.labelling.heads import Heads, fit_heads, head_inputs, load_heads, save_heads

CLASSES = ("low", "high")


@pytest.fixture
def examples() -> tuple[np.ndarray, np.ndarray]:
    """(example, input) of unlike scales, and (example, class) labels that two of the inputs tell, with some overlap."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((300, 12)) * np.geomspace(0.1, 10, 12) + 3.0
    labels = np.stack([inputs[:, 0] + 0.05 * rng.standard_normal(300) > 3.0, inputs[:, 5] > 3.5], axis=1)
    return inputs.astype(np.float32), labels.astype(float)


@pytest.mark.parametrize("soft", [False, True])
def test_is_the_logistic_regression_of_scikit_learn(examples: tuple[np.ndarray, np.ndarray], soft: bool) -> None:
    """A target of 0.8 is an example of the class with weight 0.8 and one against it with weight 0.2."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    inputs, labels = examples
    targets = 0.2 + 0.6 * labels if soft else labels
    heads = fit_heads(CLASSES, inputs, labels).relearnt(CLASSES, inputs, targets)
    standardised = heads.standardised(inputs)
    np.testing.assert_allclose(standardised.mean(axis=0), 0.0, atol=1e-3)
    for column in range(len(CLASSES)):
        reference = linear_model.LogisticRegression(C=heads.penalty, tol=1e-8, max_iter=1000)
        twice = np.concatenate([standardised, standardised])
        weight = np.concatenate([targets[:, column], 1.0 - targets[:, column]])
        reference.fit(twice, np.repeat([1, 0], len(inputs)), sample_weight=weight)
        np.testing.assert_allclose(
            heads.logits(inputs)[:, column], reference.decision_function(standardised), atol=5e-3
        )  # fmt: skip


def test_files(examples: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    heads = fit_heads(CLASSES, *examples, encoder="abc")
    save_heads(tmp_path / "heads.safetensors", heads)
    found = load_heads(tmp_path / "heads.safetensors")
    assert (found.classes, found.encoder) == (CLASSES, "abc")
    np.testing.assert_allclose(found.logits(examples[0]), heads.logits(examples[0]), atol=0.02)
    assert found.digest == load_heads(tmp_path / "heads.safetensors").digest != heads.digest
    flipped = found.of(("high", "low"))
    np.testing.assert_array_equal(flipped.logits(examples[0]), found.logits(examples[0])[:, ::-1])


@pytest.mark.parametrize("change", ["truncated", "not finite", "shapes", "scale", "no names", "missing"])
def test_damaged_files(change: str, examples: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    path, heads = tmp_path / "heads.safetensors", fit_heads(CLASSES, *examples)
    values = {name: np.array(getattr(heads, name)) for name in ("mean", "scale", "weights", "bias")}
    if change == "not finite":
        values["bias"][0] = np.nan
    if change == "shapes":
        values["mean"] = values["mean"][1:]
    if change == "scale":
        values["scale"][0] = 0.0
    save_heads(path, Heads(CLASSES[:1] if change == "no names" else CLASSES, **values))
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    if change == "missing":
        path.unlink()
    with pytest.raises(RestemError, match=r"heads\.safetensors"):
        load_heads(path)


def test_inputs_are_the_mean_and_the_maximum_over_windows() -> None:
    embeddings = np.array([[[1.0, -1.0], [3.0, 0.0]]])
    log2, log4 = np.log(2.0), np.log(4.0)
    np.testing.assert_allclose(head_inputs(embeddings), [[(log2 + log4) / 2, -log2 / 2, log4, 0.0]], rtol=1e-3)
    np.testing.assert_allclose(head_inputs(embeddings[:, :1]), [[log2, -log2]], rtol=1e-3)
