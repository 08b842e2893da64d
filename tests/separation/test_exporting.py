import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch

from restem.cli.main import run_command
from restem.errors import RestemError, UsageError
from restem.separation.exporting import export_model
from restem.separation.separator import Separator, SeparatorConfig, save_separator

SMALL: dict[str, dict[str, Any]] = {
    "band_split": {"width": 8, "depth": 1, "bands": 12, "n_fft": 512, "hop": 256},
    "hdemucs": {"channels": 4},
    "htdemucs": {"channels": 8, "depth": 4, "bottom_channels": 16, "t_layers": 1, "t_heads": 2},
}


def make(model: str, channels: int = 2, **parameters: Any) -> Separator:
    if "demucs" in model:
        pytest.importorskip("demucs")
    torch.manual_seed(0)
    config = SeparatorConfig(
        model, ("vocals", "drums", "bass"), channels=channels, rate_hz=8000, segment_s=1.0, licence="CC0",
        parameters={**SMALL.get(model, {}), **parameters},
    )  # fmt: skip
    return config.build().eval()


def noise(channels: int, samples: int) -> np.ndarray:
    return (0.2 * np.random.default_rng(3).standard_normal((channels, samples))).astype(np.float32)


def separated(separator: Separator, piece: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return separator(torch.from_numpy(piece)[None])[0].numpy()


def test_onnx_with_scipys_stft_gives_what_the_separator_gives(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    separator = make("band_split")
    export_model(separator, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["interface.json", "model.onnx"]
    told = json.loads((tmp_path / "out" / "interface.json").read_text())
    assert told["classes"] == ["vocals", "drums", "bass"] and told["licence"] == "CC0" and told["window"] == "sqrt_hann"
    piece = noise(2, told["samples"])

    window = np.sqrt(scipy.signal.get_window("hann", told["n_fft"]))
    padded = np.pad(piece, ((0, 0), told["padding"]))
    starts = range(0, padded.shape[1] - told["n_fft"] + 1, told["hop"])
    spectrum = np.stack([np.fft.rfft(window * padded[:, start : start + told["n_fft"]]) for start in starts], axis=1)
    given = np.stack([spectrum.real, spectrum.imag], axis=1)[None].astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "out" / told["file"], providers=["CPUExecutionProvider"])
    (spectra,) = session.run(["spectra"], {"spectrum": given})
    # scipy divides windows and spectra by the sum of the window, and cuts half a window off the beginning.
    _, waveforms = scipy.signal.istft(
        np.swapaxes(spectra[0, :, :, 0] + 1j * spectra[0, :, :, 1], 2, 3) / window.sum(),
        window=window, nperseg=told["n_fft"], noverlap=told["n_fft"] - told["hop"],
    )  # fmt: skip
    expected = separated(separator, piece)
    length = min(waveforms.shape[2], told["samples"])
    assert length >= told["samples"] - told["hop"]
    assert np.abs(waveforms[..., :length] - expected[..., :length]).max() < 1e-4


@pytest.mark.parametrize(
    ("model", "channels", "parameters"),
    [
        ("band_split", 1, {"frames": 3}),
        ("band_split", 2, {"n_fft": 500, "hop": 150}),
        ("hdemucs", 2, {}),
        ("htdemucs", 1, {}),
    ],
)
def test_torchscript_gives_what_the_separator_gives(
    tmp_path: Path, model: str, channels: int, parameters: dict[str, Any]
) -> None:
    separator = make(model, channels, **parameters)
    interface = export_model(separator, tmp_path / "out", format="torchscript")
    loaded = torch.jit.load(tmp_path / "out" / "model.pt")

    def call(inputs: Any) -> list[np.ndarray]:
        outputs = loaded(*(torch.from_numpy(inputs[name]) for name in interface.inputs))
        assert [tuple(output.shape) for output in outputs] == list(interface.outputs.values())
        return [output.detach().numpy() for output in outputs]

    piece = noise(channels, interface.samples)
    # The separator is as it was before.
    assert np.abs(interface.separate(call, piece) - separated(separator, piece)).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("model", ["hdemucs", "htdemucs"])
def test_networks_of_demucs_as_onnx(tmp_path: Path, model: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    separator = make(model)
    interface = export_model(separator, tmp_path / "out")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    piece = noise(2, interface.samples)
    found = interface.separate(lambda inputs: session.run(None, dict(inputs)), piece)
    assert np.abs(found - separated(separator, piece)).max() < 1e-4


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    pytest.importorskip("demucs")
    pytest.importorskip("bs_roformer")
    roformer = make("bs_roformer", dim=16, depth=1, dim_head=8, heads=2, flash_attn=False)
    with pytest.raises(UsageError, match=r"bs_roformer cannot be exported: its package computes the STFT"):
        export_model(roformer, tmp_path / "out", format="torchscript")
    for parameters in ({"cac": False}, {"hybrid": False}, {"hybrid_old": True}):
        with pytest.raises(UsageError, match="cac=True, hybrid=True and hybrid_old=False only"):
            export_model(make("hdemucs", **parameters), tmp_path / "out", format="torchscript")
    assert not (tmp_path / "out").exists()


def test_an_export_that_gives_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = torch.jit.trace

    def fault(core: torch.nn.Module, *inputs: Any, **options: Any) -> Any:
        with torch.no_grad():
            core.network.decode[0].bias.add_(torch.linspace(0, 0.1, len(core.network.decode[0].bias)))
        return trace(core, *inputs, **options)

    monkeypatch.setattr(torch.jit, "trace", fault)
    with pytest.raises(RestemError, match="not written: the exported band_split differs by"):
        export_model(make("band_split"), tmp_path / "out", format="torchscript")
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    separator = make("band_split")
    save_separator(tmp_path / "separator", separator.config, separator.network.state_dict())
    arguments = ["export-model", str(tmp_path / "separator"), str(tmp_path / "out"), "--format", "torchscript"]
    assert run_command(arguments) == 0
    printed = capsys.readouterr().out
    assert "spectrum" in printed and str(tmp_path / "out") in printed
    assert run_command(arguments) == 1
    assert "is there already; choose another folder" in capsys.readouterr().err


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RestemError, match=r"restem\[export\]"):
        export_model(make("band_split"), tmp_path / "out")
