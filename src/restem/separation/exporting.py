"""Exports a separator as ONNX or TorchScript, for programs without restem or Python.

What is exported is the network without its STFT, which neither format has for all that run them: it takes a spectrogram
and gives spectrograms. `interface.json` says how to get from sound to these and back; `Interface.separate` does it as
written there. An export is kept only if, called in this way, it gives what the separator gives.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from restem._version import __version__
from restem.addresses import as_path
from restem.errors import RestemError, UsageError
from restem.files import folder_written_aside, write_json
from restem.separation.band_split import BandSplit
from restem.separation.separator import Separator, load_separator
from restem.wording import extra_command

ModelFormat = Literal["onnx", "torchscript"]

INTERFACE_FILE = "interface.json"
MODEL_FILES: Mapping[str, str] = {"onnx": "model.onnx", "torchscript": "model.pt"}

# The largest difference of a sample from the separator's own output; full scale is 1.
TOLERANCE = 1e-4

# Of one file: a protocol buffer.
_MOST_ONNX_BYTES = 2_000_000_000

Call = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
"""Runs an exported network: its inputs by name -> its outputs in order."""


@dataclass(frozen=True)
class Interface:
    """How to use an exported network; `interface.json`.

    classes, licence, dataset: as in the separator's `config.json`. rate_hz, channels, samples: of the pieces that it
    takes. inputs, outputs: name -> shape. n_fft, hop: of the STFT. window: `hann` or its root, `sqrt_hann`, both
    periodic. scale: what the transforms are multiplied with. bins: how many are used, from 0 Hz. padding: samples
    before and after a piece, by `padding_mode`, `constant` (silence) or `reflect`. zero_frames: frames of zeros at both
    ends of the inverse STFT. first_sample: where in the sum of its frames the piece begins.
    """

    model: str
    classes: tuple[str, ...]
    rate_hz: int
    channels: int
    samples: int
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    n_fft: int
    hop: int
    window: Literal["hann", "sqrt_hann"]
    scale: float
    bins: int
    padding: tuple[int, int]
    padding_mode: Literal["constant", "reflect"]
    zero_frames: int
    first_sample: int
    licence: str = ""
    dataset: str = ""
    restem: str = __version__

    def separate(self, call: Call, piece: np.ndarray) -> np.ndarray:
        """Takes a piece apart with an exported network. piece: (channel, sample). Returns (class, channel, sample)."""
        given = {"mixture": piece[None], "spectrum": self.spectrum(piece)[None]}
        spectra, *waveforms = call({name: given[name] for name in self.inputs})
        separated = self.waveforms(spectra[0])
        return separated + waveforms[0][0] if waveforms else separated

    def spectrum(self, piece: np.ndarray) -> np.ndarray:
        """(channel, sample) -> (channel, part, frame, bin) float32, part: real and imaginary."""
        padded = np.pad(piece, ((0, 0), self.padding), mode=self.padding_mode)
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft, axis=1)[:, :: self.hop]
        spectrum = self.scale * np.fft.rfft(frames * self._window())[..., : self.bins]
        return np.stack([spectrum.real, spectrum.imag], axis=1).astype(np.float32)

    def waveforms(self, spectra: np.ndarray) -> np.ndarray:
        """(class, channel, part, frame, bin) -> (class, channel, sample) float32."""
        missing = self.n_fft // 2 + 1 - self.bins
        ends = (self.zero_frames, self.zero_frames)
        spectra = np.pad(spectra, ((0, 0), (0, 0), (0, 0), ends, (0, missing)))
        window = self._window()
        frames = np.fft.irfft(spectra[:, :, 0] + 1j * spectra[:, :, 1], self.n_fft) / self.scale * window
        total = np.zeros((*frames.shape[:2], self.n_fft + self.hop * (frames.shape[2] - 1)))
        squares = np.zeros(total.shape[2])
        for number in range(frames.shape[2]):
            place = slice(number * self.hop, number * self.hop + self.n_fft)
            total[..., place] += frames[:, :, number]
            squares[place] += window**2
        kept = slice(self.first_sample, self.first_sample + self.samples)
        return (total[..., kept] / squares[kept]).astype(np.float32)

    def _window(self) -> np.ndarray:
        hann: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)
        return np.sqrt(hann) if self.window == "sqrt_hann" else hann

    def as_dict(self) -> dict[str, Any]:
        """The interface as JSON values, with what to do in words."""
        return {**asdict(self), "steps": list(_STEPS)}


_STEPS = (
    "Cut the song, at rate_hz, into pieces of `samples` samples that overlap; extend the last one with silence.",
    "Pad a piece as `padding` says. Frame i begins at sample i * hop of that and has n_fft samples.",
    "spectrum[channel, part, frame, bin] = scale * rfft(window * frame), the first `bins` bins; part 0 is the real "
    "part, part 1 the imaginary one.",
    "Call the network with its inputs, float32, each with a first axis of length 1; `mixture` is the piece itself.",
    "Inverse, for each class and channel of `spectra`: `zero_frames` frames of zeros before and after, zeros in the "
    "bins from `bins` on, window * irfft(frame) / scale, added up where the frames lie.",
    "Divide this by the sum of the squared windows, and take `samples` samples from `first_sample` on.",
    "If there is an output `waveforms`, add it.",
    "Crossfade the pieces: a triangular weight over each, divided by the sum of the weights.",
)  # fmt: skip


def export_model(separator: Separator | Path | str, out: Path | str, *, format: ModelFormat = "onnx") -> Interface:
    """Exports a separator for programs without restem.

    Parameters
    ----------
    separator
        A separator, or its folder.
    out
        A new folder: `model.onnx` or `model.pt`, and `interface.json`, which says how to call it.
    format
        `onnx`, or `torchscript` for libtorch.

    Returns
    -------
    Interface
        What `interface.json` holds.

    Raises
    ------
    UsageError
        For an unknown format, or a model that cannot be exported.
    RestemError
        When `out` is not empty, the extra `export` is not installed, or the export does not give what the separator
        gives.
    """
    if format not in MODEL_FILES:
        raise UsageError(f"There is no format {format!r}; use one of {', '.join(MODEL_FILES)}.")
    if not isinstance(separator, Separator):
        separator = load_separator(separator)
    out = as_path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RestemError(f"{out}: is there already; choose another folder.")
    separator = copy.deepcopy(separator).cpu().eval()
    # A copy, since methods of it are replaced.
    core, interface = _without_stft(copy.deepcopy(separator))
    with folder_written_aside(out) as aside:
        file = aside / MODEL_FILES[format]
        call = (_as_onnx if format == "onnx" else _as_torchscript)(core, interface, file)
        _check(separator, interface, call, out)
        write_json(aside / INTERFACE_FILE, {"format": format, "file": file.name, **interface.as_dict()})
    return interface


class _BandSplitCore(nn.Module):
    """A `band_split` between its STFT and the inverse."""

    def __init__(self, network: BandSplit) -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrum: Tensor) -> tuple[Tensor]:
        """spectrum: (1, channel, part, frame, bin). Returns the spectra, (1, class, channel, part, frame, bin)."""
        masks = self.network.masks(spectrum.square().sum(dim=2).sqrt())
        return (masks.unsqueeze(3) * spectrum.unsqueeze(1),)


class _DemucsCore(nn.Module):
    """A HDemucs or HTDemucs between its STFT and the inverse.

    Their `forward` is one function, but calls methods of its own for the STFT, for complex numbers as channels, and for
    the inverse of both. Here these pass on what comes from outside, and keep what would go through the inverse.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, mixture: Tensor, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """spectrum: (1, channel, part, frame, bin). Returns the spectra, and the waveforms to add to theirs."""
        kept: list[Tensor] = []

        def keep(spectra: Tensor, *_: int) -> int:
            kept.append(spectra)
            return 0  # to which the waveforms are added

        network: Any = self.network
        network._spec = lambda _: spectrum.transpose(3, 4).flatten(1, 2)
        network._magnitude = lambda heard: heard
        network._mask = lambda _, spectra: spectra
        network._ispec = keep
        waveforms = network(mixture)
        spectra = torch.unflatten(kept[0], 2, (-1, 2)).transpose(4, 5)
        return spectra, waveforms


def _without_stft(separator: Separator) -> tuple[nn.Module, Interface]:
    """The network between its STFT and the inverse, and how to use it; raises UsageError where it cannot be had."""
    config, network = separator.config, separator.network
    samples = separator.valid_length(int(config.rate_hz * config.segment_s))
    settings: dict[str, Any]
    core: nn.Module
    if isinstance(network, BandSplit):
        around, frames = network.n_fft // 2, samples // network.hop + 1
        settings = {
            "n_fft": network.n_fft, "hop": network.hop, "window": "sqrt_hann", "scale": 1.0,
            "bins": network.n_fft // 2 + 1, "padding": (around, around), "padding_mode": "constant", "zero_frames": 0,
            "first_sample": around,
        }  # fmt: skip
        core = _BandSplitCore(network)
    elif config.model in ("hdemucs", "htdemucs"):
        found: Any = network
        if not found.cac or not getattr(found, "hybrid", True) or getattr(found, "hybrid_old", False):
            raise UsageError(
                f"A {config.model} can be exported with cac=True, hybrid=True and hybrid_old=False only: the others do "
                "more with the STFT."
            )
        n_fft, hop = found.nfft, found.hop_length
        frames = -(-samples // hop)
        side = hop // 2 * 3
        settings = {
            "n_fft": n_fft, "hop": hop, "window": "hann", "scale": n_fft**-0.5, "bins": n_fft // 2,
            "padding": (side, side + frames * hop - samples), "padding_mode": "reflect", "zero_frames": 2,
            "first_sample": 2 * hop + side,
        }  # fmt: skip
        core = _DemucsCore(network)
    else:
        raise UsageError(
            f"A {config.model} cannot be exported: its package computes the STFT and its inverse within the network. "
            "The models band_split, hdemucs and htdemucs can."
        )
    spectrum = (config.channels, 2, frames, settings["bins"])
    classes = len(config.classes)
    waveform = (config.channels, samples)
    inputs: dict[str, tuple[int, ...]] = {"spectrum": (1, *spectrum)}
    outputs: dict[str, tuple[int, ...]] = {"spectra": (1, classes, *spectrum)}
    if isinstance(core, _DemucsCore):
        inputs = {"mixture": (1, *waveform), **inputs}
        outputs |= {"waveforms": (1, classes, *waveform)}
    interface = Interface(
        config.model, config.classes, config.rate_hz, config.channels, samples, inputs, outputs,
        licence=config.licence, dataset=config.dataset, **settings,
    )  # fmt: skip
    return core.eval(), interface


def _as_onnx(core: nn.Module, interface: Interface, file: Path) -> Call:
    """Writes a network as ONNX, and gives what runs the file."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch imports it, and would say less
    except ImportError as error:
        raise RestemError(f"ONNX needs a package that is not installed: {extra_command('export')}.") from error
    if sum(one.numel() * one.element_size() for one in core.parameters()) > _MOST_ONNX_BYTES:
        raise UsageError("The separator is too large for one ONNX file; `format='torchscript'` has no such limit.")
    with _exporting(interface):
        torch.onnx.export(
            core, _example(interface), file, input_names=list(interface.inputs), output_names=list(interface.outputs),
            dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(list(interface.outputs), dict(inputs))


def _as_torchscript(core: nn.Module, interface: Interface, file: Path) -> Call:
    """Writes a network as TorchScript, and gives what runs the file."""
    with _exporting(interface):
        traced = torch.jit.trace(core, _example(interface), check_trace=False)  # type: ignore[no-untyped-call]
        traced.save(str(file))
        loaded = torch.jit.load(str(file))  # type: ignore[no-untyped-call]

    def call(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs: Sequence[Tensor] = loaded(*(torch.from_numpy(inputs[name]) for name in interface.inputs))
        return [output.numpy() for output in outputs]

    return call


def _example(interface: Interface) -> tuple[Tensor, ...]:
    """Inputs of the network, of noise."""
    generator = torch.Generator().manual_seed(0)
    return tuple(0.1 * torch.randn(shape, generator=generator) for shape in interface.inputs.values())


def _check(separator: Separator, interface: Interface, call: Call, out: Path) -> None:
    """Raises RestemError when the export does not give what the separator gives, for noise that swells."""
    rng = np.random.default_rng(1)
    loudness = np.linspace(0.01, 0.3, interface.samples)
    piece = (loudness * rng.standard_normal((interface.channels, interface.samples))).astype(np.float32)
    with torch.inference_mode():
        expected = separator(torch.from_numpy(piece)[None])[0].numpy()
    difference = float(np.abs(interface.separate(call, piece) - expected).max())
    if not difference <= TOLERANCE:
        raise RestemError(
            f"{out}: not written: the exported {interface.model} differs by {difference:.1e} from the separator, more "
            f"than {TOLERANCE:.0e}."
        )


@contextmanager
def _exporting(interface: Interface) -> Iterator[None]:
    """Keeps what torch's exporters say about themselves out of restem's output; raises RestemError where they fail."""
    disabled = logging.root.manager.disable
    logging.disable()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # About how networks of packages are written, the age of TorchScript, and packages that are not needed.
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # of whatever kind: the exporters look into all of the network
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0].rstrip(".")
        raise RestemError(f"The {interface.model} with these parameters cannot be exported: {reason}.") from error
    finally:
        logging.disable(disabled)
