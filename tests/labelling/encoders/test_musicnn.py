"""musicnn in torch, against librosa, against a plain computation, and against what the original gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from restem.errors import RestemError
from restem.labelling.encoders.musicnn import VggNetwork, log_mel, slaney_weights
from restem.labelling.encoders.musicnn_weights import build, read_weights
from restem.labelling.encoders.registry import encoders_folder, installed, load_encoder
from restem.labelling.encoders.wheel import CHECKPOINTS

EPSILON = 1e-3


@pytest.fixture
def windows(reference: ModuleType) -> np.ndarray:
    return reference.windows()


class TestLogMel:
    @pytest.mark.parametrize(("rate_hz", "size", "bands"), [(16000, 512, 96), (44100, 2048, 128), (8000, 256, 20)])
    def test_weights_are_librosas(self, rate_hz: int, size: int, bands: int) -> None:
        librosa = pytest.importorskip("librosa")
        expected = librosa.filters.mel(sr=rate_hz, n_fft=size, n_mels=bands)
        np.testing.assert_allclose(slaney_weights(rate_hz, size, bands), expected, atol=1e-8)

    def test_spectrograms_are_librosas(self, windows: np.ndarray, reference: ModuleType) -> None:
        pytest.importorskip("librosa")
        expected = np.stack([reference.log_mel(window) for window in windows])
        found = log_mel(torch.from_numpy(windows)).numpy()
        assert found.shape == (3, 187, 96)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_silence_is_zero(self) -> None:
        assert not log_mel(torch.zeros(1, 48000)).any()


def _norm(x: np.ndarray, weights: dict[str, np.ndarray], layer: str, axis: int) -> np.ndarray:
    shape = [1] * x.ndim
    shape[axis] = -1
    gamma, beta, mean, variance = (
        weights[f"{layer}/{part}"].astype(np.float64).reshape(shape)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta


def plain_musicnn(mel: np.ndarray, weights: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The paper's network in numpy and scipy, in TensorFlow's layout: (frame, band) -> pooled features, tags."""

    def filters(x: np.ndarray, layer: int) -> np.ndarray:
        kernel = weights[f"conv2d_{layer}/kernel" if layer else "conv2d/kernel"].astype(np.float64)
        bias = weights[f"conv2d_{layer}/bias" if layer else "conv2d/bias"]
        frames = len(kernel)
        padded = np.pad(x, (((frames - 1) // 2, frames // 2), (0, 0)))
        maps = [correlate2d(padded, kernel[:, :, 0, one], "valid") + bias[one] for one in range(kernel.shape[3])]
        return np.maximum(np.stack(maps, axis=-1), 0)

    x = _norm(mel[..., None].astype(np.float64), weights, "batch_normalization", 2)[..., 0]
    front = [_norm(filters(x, n), weights, f"batch_normalization_{n + 1}", 2).max(axis=1) for n in range(5)]
    features = [np.concatenate(front, axis=1)]
    for n in (5, 6, 7):
        found = _norm(filters(features[-1], n)[:, 0], weights, f"batch_normalization_{n + 1}", 1)
        features.append(found if n == 5 else found + features[-1])
    over_time = np.concatenate(features, axis=1)
    pairs = np.stack((over_time.max(axis=0), over_time.mean(axis=0)), axis=1)  # one pair a feature
    y = _norm(pairs.reshape(1, -1), weights, "batch_normalization_9", 1)
    y = np.maximum(y @ weights["dense/kernel"] + weights["dense/bias"], 0)
    y = _norm(y, weights, "batch_normalization_10", 1) @ weights["dense_1/kernel"] + weights["dense_1/bias"]
    return pairs.T.reshape(-1), 1 / (1 + np.exp(-y[0]))


class TestNetworks:
    def test_musicnn_is_the_papers(self, make_bundle: Callable, random_weights: Callable, windows: np.ndarray) -> None:
        weights = random_weights("musicnn")
        network = build("musicnn", read_weights("musicnn", *make_bundle(weights))).eval()
        mel = log_mel(torch.from_numpy(windows[:1]))
        with torch.inference_mode():
            embedding = network(mel)
            tags = network.tags(embedding)
        pooled, expected = plain_musicnn(mel[0].numpy(), weights)
        np.testing.assert_allclose(embedding[0].numpy(), pooled, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(tags[0].numpy(), expected, atol=1e-5)

    @pytest.mark.parametrize("name", ["musicnn-vgg", "musicnn-vgg-msd"])
    def test_vgg_ends_with_256_numbers(self, name: str, make_bundle: Callable, random_weights: Callable) -> None:
        network = build(name, read_weights(name, *make_bundle(random_weights(name)))).eval()
        with torch.inference_mode():
            embedding = network(torch.rand(2, 187, 96))
            assert embedding.shape == (2, 256)
            assert network.tags(embedding).shape == (2, 50)

    def test_weights_of_another_network_are_refused(self, make_bundle: Callable, random_weights: Callable) -> None:
        with pytest.raises(RestemError, match="no tensor"):
            read_weights("musicnn", *make_bundle(random_weights("musicnn-vgg")))
        changed = random_weights("musicnn-vgg")
        changed["dense/kernel"] = changed["dense/kernel"][:, :10]
        with pytest.raises(RestemError, match="another network"):
            read_weights("musicnn-vgg", *make_bundle(changed))
        with pytest.raises(RestemError, match="another network"):
            build("musicnn", VggNetwork().state_dict())


@pytest.mark.parametrize("name", list(CHECKPOINTS))
class TestInstalled:
    """With the real weights, where they are installed."""

    @pytest.fixture(autouse=True)
    def _needs_it(self, name: str) -> None:
        if name not in installed():
            pytest.skip(f"{name} is not installed in {encoders_folder()}; restem encoders add {name}")

    def test_is_equal_to_the_original(self, name: str, windows: np.ndarray, reference: ModuleType) -> None:
        """The reference is what the trained graph gave in TensorFlow 2.21 for these sounds."""
        encoder = load_encoder(name)
        with np.load(Path(__file__).with_name("musicnn_reference.npz")) as kept:
            tags, embedding = kept[f"{CHECKPOINTS[name]}_tags"], kept[f"{CHECKPOINTS[name]}_embedding"]
        every = 1 if "vgg" in name else reference.EVERY
        np.testing.assert_allclose(encoder.tag(windows), tags, atol=1e-5)
        np.testing.assert_allclose(encoder.embed(windows)[:, ::every], embedding, rtol=1e-4, atol=2e-4)

    def test_a_window_does_not_depend_on_others(self, name: str, windows: np.ndarray) -> None:
        encoder = load_encoder(name)
        together = encoder.embed(windows)
        alone = np.concatenate([encoder.embed(window[None]) for window in windows])
        np.testing.assert_array_equal(together, alone)

    def test_tags_have_names(self, name: str) -> None:
        assert len(load_encoder(name).card.tag_names) == 50
