"""Trainings that go on from weights: of restem, of `demucs` as its own code writes them, of MSST; what is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch

from restem.cli.main import run_command
from restem.dataset.table import Dataset
from restem.errors import RestemError, UsageError
from restem.separation.checkpoints import Checkpoint, opened_separator, read_checkpoint
from restem.separation.models import MODELS
from restem.separation.separator import Separator, SeparatorConfig, save_separator
from restem.separation.starting import take_weights
from restem.separation.train import train
from restem.separation.train_settings import TrainSettings

SMALL = {
    "band_split": {"width": 8, "depth": 1, "bands": 12, "n_fft": 512, "hop": 256},
    "hdemucs": {"channels": 4},
    "htdemucs": {"channels": 8, "depth": 4, "bottom_channels": 16, "t_layers": 1, "t_heads": 2},
    "bs_roformer": {"dim": 16, "depth": 1, "dim_head": 8, "heads": 2, "flash_attn": False},
    "mel_band_roformer": {"dim": 16, "depth": 1, "dim_head": 8, "heads": 2, "flash_attn": False},
}
SOURCES = ("drums", "bass", "other", "vocals")


def small(model: str, classes: tuple[str, ...] = SOURCES, **changes: object) -> SeparatorConfig:
    if model != "band_split":
        pytest.importorskip("demucs" if "demucs" in model else "bs_roformer")
    return SeparatorConfig(model, classes, segment_s=1.0, parameters={**SMALL[model], **changes})


def built(config: SeparatorConfig, seed: int) -> Separator:
    torch.manual_seed(seed)
    return config.build().eval()


def checkpoint(separator: Separator, classes: tuple[str, ...] = SOURCES) -> Checkpoint:
    return Checkpoint("old", separator.network.state_dict(), "", separator.config, classes)


def outputs(separator: Separator, seed: int = 5) -> torch.Tensor:
    """The outputs for noise, before anything that ties the outputs together, (class, channel, sample)."""
    mixture = torch.randn(1, 2, 44100, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return separator(mixture)[0]


def packed(network: torch.nn.Module) -> dict:
    """What `demucs.states.serialize_model` makes of a network, without the settings of its training."""
    states = pytest.importorskip("demucs.states")
    args, kwargs = network._init_args_kwargs
    return {"klass": type(network), "args": args, "kwargs": kwargs, "state": states.get_state(network, None, half=True)}


def demucs_network(seed: int = 3) -> torch.nn.Module:
    """As the package builds it itself; a fraction for the segment, as its published models have."""
    htdemucs = pytest.importorskip("demucs.htdemucs")
    torch.manual_seed(seed)
    network = htdemucs.HTDemucs(list(SOURCES), **SMALL["htdemucs"], segment=Fraction(6, 5)).eval()
    return network.half().float()  # kept in half precision


@pytest.mark.parametrize("model", MODELS)
class TestEveryModel:
    def test_classes_in_another_order_give_the_same_outputs(self, model: str) -> None:
        old = built(small(model), 0)
        new = built(small(model, ("vocals", "drums", "bass", "other")), 1)
        taken = take_weights(new, checkpoint(old))
        assert taken.of_class == {name: name for name in new.config.classes}
        expected = outputs(old)[[SOURCES.index(name) for name in new.config.classes]]
        assert torch.allclose(outputs(new), expected, atol=1e-6)

    def test_a_class_of_several_is_taken_and_the_rest_is_fresh(self, model: str) -> None:
        old, new = built(small(model), 0), built(small(model, ("guitar", "vocals")), 1)
        before = {name: tensor.clone() for name, tensor in new.network.state_dict().items()}
        assert take_weights(new, checkpoint(old)).of_class == {"guitar": None, "vocals": "vocals"}
        assert "fresh: guitar" in str(take_weights(new, checkpoint(old)))
        if model != "band_split":  # whose masks share the mixture among all outputs
            assert torch.allclose(outputs(new)[1], outputs(old)[3], atol=1e-5)
        heads = [name for name, tensor in new.network.state_dict().items() if tensor.shape != before[name].shape]
        assert not heads
        assert any(torch.equal(tensor, before[name]) is False for name, tensor in new.network.state_dict().items())

    def test_another_size_is_refused(self, model: str) -> None:
        key = {"band_split": "width", "hdemucs": "channels", "htdemucs": "channels"}.get(model, "dim")
        other = built(small(model, **{key: 2 * int(SMALL[model][key])}), 0)
        with pytest.raises(RestemError, match="of another architecture or size"):
            take_weights(built(small(model), 0), checkpoint(other))


def test_a_training_goes_on(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    """With one class less: what was learned is there at once, in the model and sizes of the first training."""
    settings = replace(quick, steps=40, batch=4, epoch_steps=40, learning_rate=1e-2)
    train(songs, tmp_path / "old", settings, cache=tmp_path / "cache", device="cpu")
    short = TrainSettings(steps=1, batch=2, epoch_steps=1, learning_rate=1e-9, target=("vocals",), rate_hz=8000)
    losses = {}
    for name, start in (("on", tmp_path / "old"), ("afresh", None)):
        mine = short if start else replace(short, parameters=quick.parameters, segment_s=1.0)
        new = train(songs, tmp_path / name, mine, start=start, cache=tmp_path / "cache", device="cpu")
        assert new.config.parameters["width"] == 16 and new.config.classes == ("vocals", "rest")
        losses[name] = json.loads((tmp_path / name / "training.json").read_text())["validation_loss"]
    record = json.loads((tmp_path / "on" / "training.json").read_text())
    assert record["taken"] == {"vocals": "vocals", "rest": None}
    assert record["start"]["place"] == str(tmp_path / "old") and losses["on"] != losses["afresh"]
    with pytest.raises(RestemError, match="`start"):
        train(songs, tmp_path / "on", mine, cache=tmp_path / "cache", device="cpu")
    with pytest.raises(UsageError, match="`model=band_split`"):
        train(songs, tmp_path / "no", replace(short, model="htdemucs"), start=tmp_path / "old")
    with pytest.raises(UsageError, match="leave it out of `parameters`"):
        train(songs, tmp_path / "no", replace(short, parameters={"width": 8}), start=tmp_path / "old")


class TestDemucs:
    def test_a_package_as_demucs_writes_it(self, tmp_path: Path) -> None:
        network = demucs_network()
        pytest.importorskip("demucs.states").save_with_checksum(packed(network), tmp_path / "abcd.th")
        (file,) = tmp_path.glob("abcd-*.th")
        separator = opened_separator(file)
        config = separator.config
        assert (config.model, config.classes, config.rate_hz, config.segment_s) == ("htdemucs", SOURCES, 44100, 1.2)
        mixture = torch.randn(1, 2, 44100)
        with torch.inference_mode():
            assert torch.allclose(separator(mixture), network(mixture), atol=1e-6)

    def test_safetensors_as_demucs_reads_them(self, tmp_path: Path) -> None:
        hub = pytest.importorskip("demucs.hf")
        network = demucs_network()
        kwargs = {**network._init_args_kwargs[1], "segment": {"_type": "fraction", "numerator": 6, "denominator": 5}}
        told = {
            "klass": "demucs.htdemucs.HTDemucs", "args": json.dumps([list(SOURCES)]), "kwargs": json.dumps(kwargs),
        }  # fmt: skip
        file = tmp_path / "abcd.safetensors"
        file.write_bytes(safetensors.torch.save({k: v.contiguous() for k, v in network.state_dict().items()}, told))
        read_by_demucs = hub.load_safetensors_model(file).eval()
        mixture = torch.randn(1, 2, 44100)
        with torch.inference_mode():
            assert torch.allclose(opened_separator(file)(mixture), read_by_demucs(mixture), atol=1e-6)

    @pytest.mark.parametrize("name", ["htdemucs", "htdemucs_ft"])
    def test_pretrained_models_come_from_the_cache(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Compared with what the package makes of the same files, a bag of four as well."""
        repo = pytest.importorskip("demucs.repo")
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
        song = tmp_path / "song.wav"
        sound = 0.1 * np.random.default_rng(0).standard_normal((44100, 2))
        soundfile.write(song, sound, 44100, subtype="FLOAT")
        command = ["separate", name, str(song), "--out", str(tmp_path / "out"), "--format", "wav", "--depth", "float"]
        assert run_command(command) == 1
        assert f"`demucs -n {name} song.mp3` downloads them" in capsys.readouterr().err
        signatures = {"htdemucs": ["955717e8"], "htdemucs_ft": ["f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d"]}[name]
        checkpoints = tmp_path / "hub" / "checkpoints"
        checkpoints.mkdir(parents=True)
        for number, signature in enumerate(signatures):
            torch.save(packed(demucs_network(number)), checkpoints / f"{signature}-0.th")
        separator = opened_separator(name)
        remote = Path(pytest.importorskip("demucs").__file__).parent / "remote"
        for signature in signatures:
            (tmp_path / f"{signature}.th").symlink_to(checkpoints / f"{signature}-0.th")
        bag = repo.BagOnlyRepo(remote, repo.LocalRepo(tmp_path)).get_model(name).eval()
        mixture = torch.from_numpy(sound.T[None]).float()
        with torch.inference_mode():
            each = torch.stack([one(mixture)[0] for one in bag.models])
        share = torch.tensor(bag.weights)
        expected = (each * share[:, :, None, None]).sum(dim=0) / share.sum(dim=0)[:, None, None]
        with torch.inference_mode():
            assert torch.allclose(separator(mixture)[0], expected, atol=1e-6)
        assert run_command(command) == 0
        assert {path.stem for path in (tmp_path / "out" / "song").glob("*.wav")} == set(SOURCES)

    def test_a_training_goes_on_from_demucs(self, songs: Dataset, tmp_path: Path) -> None:
        torch.save(packed(demucs_network()), tmp_path / "abcd.th")
        settings = TrainSettings(
            steps=1, batch=1, epoch_steps=1, validation=0.0, target=("vocals",), learning_rate=1e-9
        )
        new = train(
            songs, tmp_path / "out", settings, start=tmp_path / "abcd.th", cache=tmp_path / "cache", device="cpu"
        )
        assert new.config.model == "htdemucs" and new.config.segment_s == 1.2
        mixture = torch.randn(1, 2, 44100)
        with torch.inference_mode():
            assert torch.allclose(new.cpu()(mixture)[0, 0], demucs_network()(mixture)[0, 3], atol=1e-4)

    def test_other_networks_and_quantized_ones_are_refused(self, tmp_path: Path) -> None:
        network = demucs_network()
        torch.save({**packed(network), "state": {"__quantized": True, "packed": torch.zeros(1)}}, tmp_path / "q.th")
        with pytest.raises(RestemError, match="quantized"):
            read_checkpoint(tmp_path / "q.th")
        torch.save({**packed(network), "args": (), "kwargs": {"sources": 4}}, tmp_path / "s.th")
        with pytest.raises(RestemError, match="does not say what network"):
            read_checkpoint(tmp_path / "s.th")
        demucs = pytest.importorskip("demucs.demucs")
        torch.save({**packed(network), "klass": demucs.Demucs}, tmp_path / "d.th")
        with pytest.raises(RestemError, match="is a Demucs of demucs; restem has HTDemucs and HDemucs"):
            read_checkpoint(tmp_path / "d.th")

    def test_a_file_builds_no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pickle may ask for a network of any size while it is read."""
        htdemucs = pytest.importorskip("demucs.htdemucs")

        class Large:
            def __reduce__(self) -> tuple[type, tuple[list[str]]]:
                return htdemucs.HTDemucs, (list(SOURCES),)

        torch.save({"state": Large()}, tmp_path / "large.th")
        monkeypatch.setattr(htdemucs.HTDemucs, "__init__", lambda *_: pytest.fail("a network was built"))
        with pytest.raises(RestemError, match=r"large\.th"):
            read_checkpoint(tmp_path / "large.th")


class TestMsst:
    """Checkpoints of MSST hold weights by name, bare or beside the state of the optimiser."""

    @pytest.mark.parametrize("wrapped", ["", "state_dict", "model_state_dict"])
    def test_weights_by_name(self, wrapped: str, tmp_path: Path) -> None:
        old = built(small("htdemucs"), 0)
        weights = old.network.state_dict()
        torch.save({wrapped: weights, "epoch": 3} if wrapped else weights, tmp_path / "model.ckpt")
        with pytest.raises(UsageError, match="`start_classes`"):
            read_checkpoint(tmp_path / "model.ckpt")
        new = built(small("htdemucs", ("vocals", "rest")), 1)
        take_weights(new, read_checkpoint(tmp_path / "model.ckpt", SOURCES))
        assert torch.allclose(outputs(new)[0], outputs(old)[3], atol=1e-5)

    @pytest.mark.parametrize("model", ["bs_roformer", "mel_band_roformer"])
    def test_roformers_under_the_names_of_msst(self, model: str, tmp_path: Path) -> None:
        """Its networks have no hyper-connections and no value residuals; of two layers the second would have them."""
        mine = {"depth": 2, "num_residual_streams": 1, "time_transformer_depth": 1, "freq_transformer_depth": 1}
        mine |= {"linear_transformer_depth": 0} if model == "mel_band_roformer" else {}
        old = built(small(model, **mine), 0)
        weights = {}
        for name, tensor in old.network.state_dict().items():
            if "value_residual_mix" in name:
                tensor.fill_(-30.0 if name.endswith("bias") else 0.0)
                continue
            parts = name.replace(".branch.", ".").split(".")
            if model == "mel_band_roformer" and parts[0] == "layers":
                parts[2] = str(int(parts[2]) - 1)
            weights[".".join(parts)] = tensor
        torch.save(weights, tmp_path / "model.ckpt")
        new = built(small(model, **mine), 1)
        take_weights(new, read_checkpoint(tmp_path / "model.ckpt", SOURCES))
        assert torch.allclose(outputs(new), outputs(old), atol=1e-6)


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("name", ["model.ckpt", "model.th", "model.bin"])
def test_a_pickle_that_would_run_code_is_refused(name: str, tmp_path: Path) -> None:
    content = {"state_dict": Malicious(f"touch {tmp_path / 'run'}")}
    torch.save(content, tmp_path / name)
    with pytest.raises(RestemError, match=r"run code \(\w+\.system\), so it is refused") as caught:
        read_checkpoint(tmp_path / name, SOURCES)
    assert "weights_only=False" in str(caught.value)
    (tmp_path / name).write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(RestemError, match="refused"):
        read_checkpoint(tmp_path / name, SOURCES)
    assert not (tmp_path / "run").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("dear")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("text.ckpt", "cut.safetensors", "list.pt", "missing.ckpt"):
        with pytest.raises(RestemError, match=name):
            read_checkpoint(tmp_path / name, SOURCES)
        with pytest.raises(RestemError, match=name):
            opened_separator(tmp_path / name)
    with pytest.raises(UsageError, match="leave out `start_classes`"):
        config = small("band_split")
        save_separator(tmp_path / "separator", config, config.build().network.state_dict())
        read_checkpoint(tmp_path / "separator", ("vocals", "drums", "bass", "other"))
