from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from restem.audio.mel import MelSettings
from restem.errors import RestemError
from restem.labelling.classifier import Classifier, ClassifierConfig, load_classifier, save_classifier
from restem.labelling.network import SIZES, ClassifierNetwork, ClassifierSettings, normalise_level

SMALL = ClassifierSettings(depths=(1, 2), widths=(8, 16), patch=(4, 4), drop_path=0.2)
CONFIG = ClassifierConfig(("a", "b", "c"), MelSettings(bands=16, high_hz=3800.0), SMALL, segment_s=1.0)


def segments(batch: int = 2, frames: int = 30, bands: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, frames, bands, generator=torch.Generator().manual_seed(seed)) ** 4


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return CONFIG.build().eval()


class TestForward:
    @pytest.mark.parametrize("frames", [4, 5, 7, 37, 150, 151])
    @pytest.mark.parametrize("bands", [4, 15, 64])
    def test_any_number_of_frames_and_bands(self, frames: int, bands: int) -> None:
        logits = ClassifierNetwork(3, bands, SMALL).eval()(segments(2, frames, bands))
        assert logits.shape == (2, 3) and torch.isfinite(logits).all()

    @pytest.mark.parametrize("size", SIZES)
    def test_sizes(self, size: str) -> None:
        classifier = ClassifierNetwork(4, 64, SIZES[size]).eval()
        with torch.inference_mode():
            assert classifier(segments(1, 150, 64)).shape == (1, 4)
        millions = sum(weights.numel() for weights in classifier.parameters()) / 1e6
        low, high = {"tiny": (0.3, 2), "small": (2, 15), "base": (20, 35)}[size]
        assert low < millions < high

    @pytest.mark.parametrize("factor", [1e-9, 1e-3, 0.5, 7.0, 1e6])
    def test_loudness_does_not_matter(self, classifier: Classifier, factor: float) -> None:
        power = segments()
        with torch.inference_mode():
            torch.testing.assert_close(classifier(factor * power), classifier(power), rtol=1e-3, atol=1e-4)

    def test_segments_of_a_batch_do_not_know_each_other(self, classifier: Classifier) -> None:
        power = segments(5)
        with torch.inference_mode():
            together = classifier(power)
            alone = torch.cat([classifier(one[None]) for one in power])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_silence_is_finite(self, classifier: Classifier) -> None:
        with torch.inference_mode():
            assert torch.isfinite(classifier(torch.zeros(2, 30, 16))).all()

    def test_levels_are_decibels_relative_to_the_mean(self) -> None:
        power = torch.full((1, 10, 4), 0.5)
        power[0, :5] = 1e-12
        mean = power.mean()
        expected = 10 * torch.log10(power / mean + 1e-8) / 20 + 1
        torch.testing.assert_close(normalise_level(power), expected)
        assert normalise_level(power).min() == pytest.approx(-3.0, abs=1e-3)

    def test_every_weight_learns(self) -> None:
        torch.manual_seed(0)
        classifier = ClassifierNetwork(3, 16, replace(SMALL, drop_path=0.0))
        classifier(segments()).square().sum().backward()
        for name, weights in classifier.named_parameters():
            assert weights.grad is not None and weights.grad.abs().sum() > 0, name

    def test_paths_are_dropped_in_training_only(self, classifier: Classifier) -> None:
        power = segments(16)
        with torch.no_grad():
            torch.testing.assert_close(classifier(power), classifier(power), rtol=0, atol=0)
            classifier.train()
            assert not torch.equal(classifier(power), classifier(power))


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path, classifier: Classifier, config: ClassifierConfig) -> Path:
        classifier.config = replace(config, classes=("a", "b", "c"), network=SMALL)
        save_classifier(tmp_path / "classifier", classifier)
        return tmp_path / "classifier"

    def test_round_trip(self, folder: Path, classifier: Classifier) -> None:
        loaded = load_classifier(folder)
        config = loaded.config
        assert config.classes == ("a", "b", "c") and config.network == SMALL and config.segment_s == 1.0
        assert config.mel == MelSettings(bands=16, high_hz=3800.0)
        assert (config.dataset, config.licence) == ("0" * 64, "CC0")
        assert not loaded.training
        assert load_classifier(str(folder)).config == config
        with torch.inference_mode():
            torch.testing.assert_close(loaded(segments()), classifier(segments()), rtol=0, atol=0)
        assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_missing_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(RestemError, match=rf"holds no classifier \({name} is missing\)"):
            load_classifier(folder)

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(RestemError, match="nowhere: holds no classifier"):
            load_classifier(tmp_path / "nowhere")

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    @pytest.mark.parametrize("length", [0, 1, 50, -1])
    def test_truncated_file(self, folder: Path, name: str, length: int) -> None:
        path = folder / name
        content = path.read_bytes().rstrip() if name.endswith("json") else path.read_bytes()
        path.write_bytes(content[:length])
        with pytest.raises(RestemError, match="damaged"):
            load_classifier(folder)

    def test_garbage(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"\xff" * 5000)
        with pytest.raises(RestemError, match="damaged"):
            load_classifier(folder)

    def test_weights_of_another_network(self, folder: Path) -> None:
        other = ClassifierNetwork(3, 16, replace(SMALL, widths=(8, 24)))
        safetensors.torch.save_file(other.state_dict(), folder / "model.safetensors")
        with pytest.raises(RestemError, match="damaged or of another version"):
            load_classifier(folder)

    def test_weights_of_something_else(self, folder: Path) -> None:
        safetensors.torch.save_file({"x": torch.zeros(3)}, folder / "model.safetensors")
        with pytest.raises(RestemError, match="damaged or of another version"):
            load_classifier(folder)

    @pytest.mark.parametrize(
        "change",
        [
            lambda content: content | {"surprise": 1},
            lambda content: content | {"mel": content["mel"] | {"surprise": 1}},
            lambda content: content | {"network": content["network"] | {"surprise": 1}},
        ],
    )
    def test_unknown_key(self, folder: Path, change: Callable[[dict], dict]) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
        with pytest.raises(RestemError, match="no setting 'surprise'"):
            load_classifier(folder)

    @pytest.mark.parametrize("content", ["[]", "null", "3", '{"classes": ["a"]}', '["classes"]'])
    def test_foreign_config(self, folder: Path, content: str) -> None:
        (folder / "config.json").write_text(content)
        with pytest.raises(RestemError):
            load_classifier(folder)

    @pytest.mark.parametrize(
        "change", [{"classes": 3}, {"mel": None}, {"network": {"depths": [1, 2]}}, {"mel": {"bands": "x"}}]
    )
    def test_config_with_wrong_values(self, folder: Path, change: dict) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(RestemError, match="damaged"):
            load_classifier(folder)

    def test_a_pickle_is_not_executed(self, folder: Path, tmp_path: Path) -> None:
        class Harm:
            def __reduce__(self) -> tuple:
                return Path.touch, (tmp_path / "harmed",)

        (folder / "model.safetensors").write_bytes(pickle.dumps(Harm()))
        with pytest.raises(RestemError, match="damaged"):
            load_classifier(folder)
        torch.save({"x": Harm()}, folder / "model.safetensors")
        with pytest.raises(RestemError, match="damaged"):
            load_classifier(folder)
        assert not (tmp_path / "harmed").exists()
