from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import safetensors.torch
import torch

from restem import fitting
from restem.dataset.table import Dataset
from restem.errors import RestemError, UsageError
from restem.separation import remixing
from restem.separation.band_split import BandSplit, band_edges
from restem.separation.losses import LOG_WMSE, LOSSES, set_loss
from restem.separation.models import MODELS, default_parameters, parse_parameters
from restem.separation.options import Loss, Model
from restem.separation.separator import Separator, SeparatorConfig, load_separator, save_separator
from restem.separation.songs import separate
from restem.separation.train import train
from restem.separation.train_settings import TrainSettings

CLASSES = ("vocals", "drums", "bass", "other")

# As small as each can be made.
SMALL = {
    "band_split": {"width": 8, "depth": 1, "bands": 12, "n_fft": 512, "hop": 256},
    "hdemucs": {"channels": 4},
    "htdemucs": {"channels": 8, "depth": 4, "bottom_channels": 16, "t_layers": 1, "t_heads": 2},
    "bs_roformer": {"dim": 16, "depth": 1, "dim_head": 8, "heads": 2, "flash_attn": False},
    "mel_band_roformer": {"dim": 16, "depth": 1, "dim_head": 8, "heads": 2, "flash_attn": False},
}


def small(model: str, classes: tuple[str, ...] = CLASSES, **changes: object) -> SeparatorConfig:
    if model != "band_split":
        pytest.importorskip("demucs" if "demucs" in model else "bs_roformer")
    return SeparatorConfig(model, classes, segment_s=1.0, parameters={**SMALL[model], **changes})


@pytest.mark.parametrize("model", MODELS)
class TestEveryModel:
    def test_shapes_and_gradient(self, model: str) -> None:
        separator = small(model).build().train()
        mixture = torch.randn(2, 2, 44100)
        outputs = separator(mixture)
        assert outputs.shape == (2, 4, 2, 44100)
        outputs.square().mean().backward()
        assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in separator.parameters())

    def test_one_class(self, model: str) -> None:
        separator = small(model, ("vocals",)).build().eval()
        with torch.inference_mode():
            assert separator(torch.randn(1, 2, 44100)).shape == (1, 1, 2, 44100)

    def test_kept_in_a_folder(self, model: str, tmp_path: Path) -> None:
        separator = small(model).build().eval()
        save_separator(tmp_path, separator.config, separator.network.state_dict())
        again = load_separator(tmp_path)
        assert again.config == separator.config and again.fingerprint() == separator.fingerprint()
        mixture = torch.randn(1, 2, 44100)
        with torch.inference_mode():
            assert torch.equal(again(mixture), separator(mixture))

    def test_unknown_parameter(self, model: str) -> None:
        with pytest.raises(UsageError, match="has no parameter 'colour'"):
            small(model, colour=1).build()


@pytest.mark.parametrize("model", MODELS)
def test_trained_interrupted_resumed_and_used(
    model: str, songs: Dataset, quick: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model != "band_split":
        pytest.importorskip("demucs" if "demucs" in model else "bs_roformer")
    settings = replace(
        quick, model=model, parameters=SMALL[model], steps=4, batch=1, epoch_steps=2, validation_examples=1,
        segment_s=0.5, rate_hz=16000 if "roformer" in model else quick.rate_hz,
    )  # fmt: skip
    original, calls = remixing.Remixer.batch, iter(range(1000))

    def interrupting(*arguments: object) -> object:
        if next(calls) == 4:  # two steps, the validation, one step
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(remixing.Remixer, "batch", interrupting)
        with pytest.raises(KeyboardInterrupt):
            train(songs, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu", workers=1)
    load_separator(tmp_path / "out")  # that of the first epoch is there to be used
    trained = train(songs, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu", workers=1)

    loaded = load_separator(tmp_path / "out")
    assert loaded.fingerprint() == trained.fingerprint() and loaded.config.model == model
    torch.manual_seed(settings.seed)
    assert _moved(loaded, loaded.config.build())
    summary = separate(loaded, songs.root / "song0" / "vocals.wav", tmp_path / "separated", device="cpu")
    assert not summary.failed
    assert {path.stem for path in summary.done[0].glob("*.wav")} == set(loaded.config.classes)


def _moved(one: Separator, other: Separator) -> bool:
    """Whether the weights have moved, and everything that is not a weight has not."""
    before = other.state_dict()
    names = {name for name, _ in other.named_parameters()}
    buffers = {name for name in before if name not in names and not before[name].is_floating_point()}
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.state_dict().items() if name in buffers)
    return any(not torch.equal(tensor, before[name]) for name, tensor in one.state_dict().items() if name in names)


@pytest.mark.parametrize("average", [fitting.average_over(10), fitting.average_over_share(0.1)])
def test_averages_leave_integers_as_they_are(average: fitting.Average) -> None:
    """Such buffers are indices; the mean of two indices is a third one."""
    for numbers in (np.arange(5), np.array([True, False])):
        current = torch.from_numpy(numbers)
        assert torch.equal(average(torch.zeros_like(current), current, torch.tensor(3)), current)
    mean = average(torch.zeros(2), torch.ones(2), torch.tensor(100))
    assert 0.0 < float(mean[0]) < 1.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("model", MODELS)
def test_a_step_in_mixed_precision(model: str) -> None:
    separator = small(model).build().cuda().train()
    before = [weight.detach().clone() for weight in separator.parameters()]
    optimizer = torch.optim.AdamW(separator.parameters(), 1e-3)
    targets = torch.randn(2, 4, 2, 44100, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        outputs = separator(targets.sum(dim=1))
    set_loss(outputs.float(), torch.eye(4, device="cuda").expand(2, 4, 4), targets, "l1+stft").backward()
    optimizer.step()
    assert all(weight.isfinite().all() for weight in separator.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, separator.parameters(), strict=True))


class TestParameters:
    def test_parsed_like_their_defaults(self) -> None:
        assert parse_parameters("band_split", ["width=32", "depth = 2"]) == {"width": 32, "depth": 2}

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("colour=1", "has no parameter 'colour'; it has bands"),
            ("width", "needs key=value"),
            ("width=wide", "must be like 64"),
            ("width=1.5", "must be like 64"),
            ("width=[1, 2]", "must be like 64"),
            ("width=true", "must be like 64"),
            ("width={", "is not a value"),
            ("sources=3", "has no parameter 'sources'"),
        ],
    )
    def test_refused(self, setting: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            parse_parameters("band_split", [setting])

    def test_kinds(self) -> None:
        pytest.importorskip("demucs")
        parsed = parse_parameters("htdemucs", ["freq_emb=1", "multi_freqs=[0.5]", "t_sparse_self_attn=true"])
        assert parsed == {"freq_emb": 1.0, "multi_freqs": [0.5], "t_sparse_self_attn": True}
        assert type(parsed["freq_emb"]) is float

    def test_errors_of_the_packages_are_told(self) -> None:
        with pytest.raises(UsageError, match="bs_roformer cannot be built with these parameters"):
            small("bs_roformer", dim="wide").build()

    def test_unknown_model(self) -> None:
        with pytest.raises(UsageError, match="no model 'unet'; use one of band_split, hdemucs"):
            default_parameters("unet")

    @pytest.mark.parametrize("changes", [{"hop": 512}, {"bands": 200}, {"width": -1}, {"width": 0}, {"bands": 0}])
    def test_what_cannot_be_built(self, changes: dict[str, int]) -> None:
        with pytest.raises(UsageError, match="band_split cannot be built"):
            small("band_split", **changes).build()


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        separator = small("band_split").build()
        save_separator(tmp_path / "model", separator.config, separator.network.state_dict())
        return tmp_path / "model"

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(RestemError, match="no such model folder"):
            load_separator(tmp_path / "nothing")
        with pytest.raises(RestemError, match=r"no finished separator \(config.json is missing\)"):
            load_separator(tmp_path)

    def test_weights_of_another(self, folder: Path) -> None:
        other = small("band_split", width=16).build()
        (folder / "model.safetensors").write_bytes(safetensors.torch.save(other.network.state_dict()))
        with pytest.raises(RestemError, match="damaged or of another version"):
            load_separator(folder)

    @pytest.mark.parametrize("harm", ["truncated", "text", "unknown key", "no json"])
    def test_damaged(self, folder: Path, harm: str) -> None:
        weights, config = folder / "model.safetensors", folder / "config.json"
        content = json.loads(config.read_text())
        if harm == "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
        elif harm == "text":
            weights.write_text("nothing of the kind")
        else:
            config.write_text("{" if harm == "no json" else json.dumps({**content, "colour": 1}))
        with pytest.raises(RestemError, match=str(folder)):
            load_separator(folder)

    @pytest.mark.parametrize(
        "hostile",
        [
            {"classes": []}, {"classes": ["../../x", "b", "c", "d"]}, {"classes": ["a", "a", "b", "c"]},
            {"classes": [1, 2, 3, 4]}, {"classes": None}, {"aliases": [1]}, {"aliases": {"x": "nothing"}},
            {"rate_hz": 0}, {"rate_hz": -8000}, {"rate_hz": 8000.5}, {"rate_hz": 10**12}, {"rate_hz": "8000"},
            {"segment_s": 0}, {"segment_s": -1}, {"segment_s": float("nan")}, {"segment_s": float("inf")},
            {"segment_s": 1e12}, {"segment_s": "1"}, {"channels": 0}, {"channels": 3}, {"channels": "2"},
            {"model": "os:system"}, {"model": ["band_split"]}, {"model": None}, {"parameters": {"width": 10**9}},
            {"parameters": {"bands": 0}}, {"parameters": {"frames": 0}}, {"parameters": [1]},
        ],
        ids=str,
    )  # fmt: skip
    def test_hostile_values(self, folder: Path, hostile: dict) -> None:
        """Classes become file names, and sizes memory."""
        config = folder / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **hostile}))
        with pytest.raises(RestemError, match="is damaged or of another version") as caught:
            load_separator(folder)
        assert not isinstance(caught.value, UsageError) and str(folder) in str(caught.value)


class TestBand:
    def test_bands_cover_every_bin_once(self) -> None:
        for n_fft, rate_hz, bands in ((4096, 44100, 48), (2048, 48000, 60), (512, 8000, 16)):
            edges = band_edges(n_fft, rate_hz, bands)
            assert edges[0] == 0 and edges[-1] == n_fft // 2 + 1
            assert (edges[1:] - edges[:-1] >= 2).all()

    def test_louder_in_louder_out(self) -> None:
        """Masks do not depend on the level of the song."""
        network = BandSplit(2, 2, 44100, width=8, depth=1, bands=12).eval()
        mixture = torch.randn(1, 2, 30000)
        with torch.inference_mode():
            assert torch.allclose(network(100 * mixture), 100 * network(mixture), rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("samples", [1, 1000, 2048, 44101])
    def test_any_length(self, samples: int) -> None:
        network = BandSplit(3, 1, 44100, width=8, depth=1, bands=12).eval()
        with torch.inference_mode():
            outputs = network(torch.randn(1, 1, samples))
        assert outputs.shape == (1, 3, 1, samples) and outputs.isfinite().all()

    def test_silence_stays_silent(self) -> None:
        network = BandSplit(2, 2, 44100, width=8, depth=1, bands=12)
        outputs = network(torch.zeros(1, 2, 20000))
        outputs.abs().mean().backward()
        assert (outputs == 0).all()
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in network.parameters())


def test_a_separator_of_an_earlier_version_loads(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Its model is called `band`."""
    separator = small("band_split").build()
    save_separator(tmp_path, separator.config, separator.network.state_dict())
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"band_split"', '"band"'))
    assert load_separator(tmp_path).config.model == "band_split"
    assert len(recwarn) == 0


def test_options_name_every_model_and_loss() -> None:
    assert get_args(Model) == tuple(MODELS)
    assert get_args(Loss) == (*LOSSES, LOG_WMSE)
