from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restem.errors import RestemError, UsageError
from restem.separation.separator import Separator, SeparatorConfig
from restem.separation.splitting import Splitter, divide_by_magnitude
from restem.separation.streaming import draw_shifts, separate_blocks

RATE_HZ = 1000


class Shares(nn.Module):
    """Two sources: fixed shares of the mixture."""

    def forward(self, mixture: Tensor) -> Tensor:
        return torch.stack([0.25 * mixture, 0.75 * mixture], dim=1)


def blocks_of(sound: np.ndarray, size: int) -> list[np.ndarray]:
    return [sound[:, start : start + size] for start in range(0, sound.shape[1], size)]


def config(model: str = "band_split", **changes: object) -> SeparatorConfig:
    return SeparatorConfig(model, ("vocals", "drums"), rate_hz=RATE_HZ, segment_s=0.5, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [1, 100, 499, 500, 501, 875, 1250, 3333])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_puts_the_pieces_together(samples: int, overlap: float) -> None:
    sound = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    found = list(separate_blocks(Separator(config(), Shares()), blocks_of(sound, 77), overlap=overlap))
    joined = np.concatenate(found, axis=2)
    assert np.allclose(joined, np.stack([0.25 * sound, 0.75 * sound]), atol=1e-6)
    assert max(block.shape[2] for block in found) <= 500


def test_blocks_do_not_matter() -> None:
    torch.manual_seed(0)
    small = {"n_fft": 64, "hop": 32, "bands": 6, "width": 8, "depth": 1}
    separator = config(parameters=small).build().eval()
    sound = np.random.default_rng(0).standard_normal((2, 2345)).astype(np.float32)
    whole = np.concatenate(list(separate_blocks(separator, [sound])), axis=2)
    for size in (1, 100, 600):
        assert (np.concatenate(list(separate_blocks(separator, blocks_of(sound, size))), axis=2) == whole).all()


@pytest.mark.parametrize("model", ["hdemucs", "htdemucs"])
@pytest.mark.parametrize("overlap", [0.25, 0.4])
def test_as_demucs_does_it(model: str, overlap: float) -> None:
    apply = pytest.importorskip("demucs.apply")
    torch.manual_seed(0)
    parameters = (
        {"channels": 4} if model == "hdemucs" else {"channels": 8, "bottom_channels": 16, "t_layers": 1, "t_heads": 2}
    )
    shape = SeparatorConfig(model, ("vocals", "drums"), rate_hz=8000, segment_s=1.0, parameters=parameters)
    separator = shape.build().eval()
    mixture = 0.3 * torch.randn(1, 2, 30_123)
    expected = apply.apply_model(separator.network, mixture, shifts=0, overlap=overlap, segment=1.0)[0].numpy()
    found = np.concatenate(
        list(separate_blocks(separator, blocks_of(mixture[0].numpy(), 4096), overlap=overlap)), axis=2
    )
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


def test_shifts_as_demucs_does_them(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = pytest.importorskip("demucs.apply")
    torch.manual_seed(0)
    shape = SeparatorConfig("hdemucs", ("vocals", "drums"), rate_hz=8000, segment_s=1.0, parameters={"channels": 4})
    separator = shape.build().eval()
    mixture = 0.3 * torch.randn(1, 2, 20_123)
    # Demucs draws how much of half a second of silence is left out.
    drawn = iter(4000 - shift for shift in draw_shifts(4000, 3, seed=5))
    monkeypatch.setattr(apply.random, "randint", lambda *_: next(drawn))
    expected = apply.apply_model(separator.network, mixture, shifts=3, overlap=0.25, segment=1.0)[0].numpy()
    found = list(separate_blocks(separator, blocks_of(mixture[0].numpy(), 4096), shifts=3, seed=5))
    assert np.abs(np.concatenate(found, axis=2) - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


class TestShifts:
    def test_a_function_of_the_seed(self) -> None:
        torch.manual_seed(0)
        separator = config(parameters={"n_fft": 64, "hop": 32, "bands": 6, "width": 8, "depth": 1}).build().eval()
        sound = np.random.default_rng(0).standard_normal((2, 2345)).astype(np.float32)

        def separate(size: int, **options: int) -> np.ndarray:
            return np.concatenate(list(separate_blocks(separator, blocks_of(sound, size), **options)), axis=2)

        whole = separate(2345, shifts=3)
        assert whole.shape == (2, 2, 2345)
        assert (separate(100, shifts=3) == whole).all()
        assert not np.array_equal(separate(100, shifts=3, seed=1), whole)
        assert not np.array_equal(separate(100), whole)

    @pytest.mark.parametrize("samples", [1, 500, 3333])
    def test_what_does_not_depend_on_the_place_stays(self, samples: int) -> None:
        sound = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
        found = list(separate_blocks(Separator(config(), Shares()), blocks_of(sound, 77), shifts=4))
        assert np.allclose(np.concatenate(found, axis=2), np.stack([0.25 * sound, 0.75 * sound]), atol=1e-6)

    def test_little_is_read_ahead(self) -> None:
        """However long the song, what is read and not yet given fits into a few pieces and the longest shift."""
        read = given = ahead = 0

        def song() -> Iterator[np.ndarray]:
            nonlocal read
            for _ in range(300):
                read += 100
                yield np.zeros((2, 100), np.float32)

        for block in separate_blocks(Separator(config(), Shares()), song(), shifts=3):
            given += block.shape[2]
            ahead = max(ahead, read - given)
        assert given == read == 30_000 and ahead < 2_000


def test_refused() -> None:
    with pytest.raises(UsageError, match="-1 times"):
        list(separate_blocks(Separator(config(), Shares()), [], shifts=-1))
    with pytest.raises(UsageError, match="overlap"):
        list(separate_blocks(Separator(config(), Shares()), [], overlap=1.0))

    class Broken(Shares):
        def forward(self, mixture: Tensor) -> Tensor:
            return super().forward(mixture) * float("nan")

    with pytest.raises(RestemError, match="NaN"):
        list(separate_blocks(Separator(config(), Broken()), [np.ones((2, 10), np.float32)]))
    assert list(separate_blocks(Separator(config(), Shares()), [])) == []


class TestSplitter:
    def test_parts_add_up_and_follow_the_estimates(self) -> None:
        time_s = torch.arange(8000) / 8000
        low, high = torch.sin(2 * torch.pi * 100 * time_s), torch.sin(2 * torch.pi * 2000 * time_s)
        mixture = (low + high).expand(1, 2, -1)
        estimates = torch.stack([0.1 * low, 0.1 * high]).reshape(1, 2, 1, -1).expand(1, 2, 2, -1)
        parts = divide_by_magnitude(mixture, estimates)
        assert torch.allclose(parts.sum(dim=1), mixture, atol=1e-5)
        assert (parts[0, 0, 0] - low)[2000:-2000].abs().max() < 0.02

    def test_of_some_classes(self) -> None:
        separator = Separator(SeparatorConfig("band_split", ("vocals", "drums"), segment_s=1.0), Shares())
        mixture = torch.randn(1, 2, 5000)
        assert torch.allclose(Splitter(separator, ("drums",))(mixture)[:, 0], mixture, atol=1e-5)
        parts = Splitter(separator, ("drums", "vocals"))(mixture)
        assert torch.allclose(parts[:, 0], 0.75 * mixture, atol=1e-4)
